#include "qlora/io/safetensors.hpp"
#include "qlora/io/safetensors_writer.hpp"

#include <string>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::RowMatrixXf;

namespace {

std::string file_of(const std::string& header, const std::string& data = {}) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

std::string tensor_refusal(const test::TemporaryFolder& folder, const std::string& bytes) {
  const auto path = folder.write("f.safetensors", bytes);
  return test::message_of<qlora::FormatError>([&] { qlora::SafetensorsFile file(path); });
}

}  // namespace

TEST_CASE("written tensors are read back bit for bit, with metadata") {
  const test::TemporaryFolder folder;
  const RowMatrixXf a = test::normal_matrix(3, 7, 1), b = test::normal_matrix(1, 1, 2), empty(0, 5);
  qlora::write_safetensors(folder / "f", {{"a", &a}, {"b", &b}, {"empty", &empty}},
                           {{"format", "pt"}});
  const qlora::SafetensorsFile file(folder / "f");
  REQUIRE(test::same_bits(file.dense("a"), a));
  REQUIRE(test::same_bits(file.dense("b"), b));
  REQUIRE(file.dense("empty").rows() == 0);
  REQUIRE(file.metadata().at("format") == "pt");
  REQUIRE(file.tensors().size() == 3);
  REQUIRE_THROWS_AS(file.tensor("c"), qlora::FormatError);
}

TEST_CASE("half and bfloat16 tensors come as floats") {
  const test::TemporaryFolder folder;
  const auto path = folder.write(
      "f",
      file_of(
          R"({"h":{"dtype":"F16","shape":[1,1],"data_offsets":[0,2]},"b":{"dtype":"BF16","shape":[1,1],"data_offsets":[2,4]}})",
          std::string("\x00\x38\x80\x3f", 4)));
  const qlora::SafetensorsFile file(path);
  REQUIRE(file.dense("h")(0, 0) == 0.5f);
  REQUIRE(file.dense("b")(0, 0) == 1.f);
}

TEST_CASE("what the format forbids is refused with the tensor's name") {
  const test::TemporaryFolder folder;
  const auto one = [](const std::string& dtype, const std::string& shape,
                      const std::string& offsets) {
    return R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
           offsets + "}}";
  };
  const std::string data(8, 'x');
  REQUIRE(test::contains(tensor_refusal(folder, "abc"), "8 bytes"));
  REQUIRE(test::contains(tensor_refusal(folder, std::string(8, '\xff')), "does not fit"));
  REQUIRE(test::contains(tensor_refusal(folder, file_of("[]")), "start with '{'"));
  REQUIRE(test::contains(tensor_refusal(folder, file_of("{\"w\":")), "f.safetensors"));
  REQUIRE(test::contains(tensor_refusal(folder, file_of(one("F31", "[2]", "[0,8]"), data)),
                         "'F31' is not known"));
  REQUIRE(test::contains(tensor_refusal(folder, file_of(one("F32", "[3]", "[0,8]"), data)),
                         "expected 12 bytes"));
  REQUIRE(test::contains(tensor_refusal(folder, file_of(one("F32", "[2]", "[8,0]"), data)), "'w'"));
  REQUIRE(
      test::contains(tensor_refusal(folder, file_of(one("F32", "[3]", "[0,12]"), data)), "'w'"));
  REQUIRE(test::contains(
      tensor_refusal(folder,
                     file_of(one("F32", "[4294967296,4294967296,4294967296]", "[0,8]"), data)),
      "out of range"));
  REQUIRE(
      test::contains(tensor_refusal(folder, file_of(one("F32", "[-2]", "[0,8]"), data)), "'w'"));
  REQUIRE(test::contains(tensor_refusal(folder, file_of(one("F32", "[1]", "[0,4]"), data)),
                         "expected 4 bytes of data, found 8"));
  REQUIRE(
      test::contains(tensor_refusal(folder, file_of(one("F32", "[1]", "[4,8]"), data)), "hole"));
  REQUIRE(test::contains(tensor_refusal(folder, file_of(R"({"w":{"dtype":"F32"}})", data)), "'w'"));
  const std::string overlap =
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})";
  REQUIRE(test::contains(tensor_refusal(folder, file_of(overlap, data)), "overlaps"));
  const std::string twice =
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})";
  REQUIRE(test::contains(tensor_refusal(folder, file_of(twice, data)), "comes twice"));
}

TEST_CASE("types of less than a byte and new types have their sizes") {
  const test::TemporaryFolder folder;
  const auto bytes_of = [&](const std::string& dtype, const std::string& shape,
                            const std::string& data) {
    const std::string text = R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape +
                             R"(,"data_offsets":[0,)" + std::to_string(data.size()) + "]}}";
    return qlora::SafetensorsFile(folder.write("f", file_of(text, data))).tensor("w").bytes.size();
  };
  REQUIRE(bytes_of("F4", "[3,4]", "abcdef") == 6);
  REQUIRE(bytes_of("F6_E3M2", "[4]", "abc") == 3);
  REQUIRE(bytes_of("F8_E8M0", "[4]", "abcd") == 4);
  REQUIRE(bytes_of("F8_E5M2FNUZ", "[1]", "a") == 1);
  REQUIRE(bytes_of("C64", "[1]", "abcdefgh") == 8);
  REQUIRE_THROWS_AS(bytes_of("F4", "[3]", "ab"), qlora::FormatError);
  REQUIRE_THROWS_AS(bytes_of("F4", "[8]", "abc"), qlora::FormatError);
  REQUIRE(qlora::is_safetensors_dtype("BOOL"));
  REQUIRE(!qlora::is_safetensors_dtype("IQ4_NL"));
}

TEST_CASE("changed or missing bytes never crash the safetensors reader") {
  const test::TemporaryFolder folder;
  const RowMatrixXf a = test::normal_matrix(3, 7, 1);
  qlora::write_safetensors(folder / "good", {{"a", &a}, {"b", &a}}, {{"format", "pt"}});
  const std::string whole = qlora::read_text_file(folder / "good");
  test::law("read or refused", [&](std::uint16_t at, std::uint8_t value, bool cut) {
    std::string changed = whole;
    changed[at % 200] = static_cast<char>(value);
    if (cut) changed.resize(at % whole.size());
    try {
      const qlora::SafetensorsFile file(folder.write("f", changed));
      for (const auto& [name, tensor] : file.tensors())
        if (tensor.shape.size() == 2 && tensor.dtype == "F32") (void)file.dense(name);
    } catch (const qlora::Error&) {
    }
  });
}
