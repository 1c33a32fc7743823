#include "qlora/io/gguf.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/gguf_builder.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"
#include "support/tiny_model.hpp"

using test::GgufBuilder;

namespace {

// The message with which the bytes are refused.
std::string refusal(const test::TemporaryFolder& folder, const std::string& bytes) {
  const auto path = folder.write("f.gguf", bytes);
  return test::message_of<qlora::FormatError>([&] { qlora::GgufFile file(path); });
}

}  // namespace

TEST_CASE("keys of every kind and tensors are read, in versions 2 and 3") {
  const test::TemporaryFolder folder;
  for (const std::uint32_t version : {2u, 3u}) {
    GgufBuilder builder;
    builder.version = version;
    const qlora::RowMatrixXf w = test::normal_matrix(3, 5, 1);
    builder.key("text", "hello")
        .key("count", 7u)
        .key("real", 0.5f)
        .key("list", std::vector<std::int32_t>{1, -2});
    builder.key("words", std::vector<std::string>{"a", "b"}).number("byte", 0, std::uint8_t{255});
    builder.number("truth", 7, std::uint8_t{1})
        .number("small", 3, std::int16_t{-3})
        .number("wide", 12, 0.1);
    builder.number("long", 10, std::uint64_t{1} << 40).number("minus", 11, std::int64_t{-1});
    builder.tensor("w", w).tensor("b", test::normal_matrix(1, 4, 2));
    const qlora::GgufFile file(folder.write("f.gguf", builder.bytes()));
    REQUIRE(file.get<std::string>("text") == "hello");
    REQUIRE(file.get<qlora::Index>("count") == 7);
    REQUIRE(file.get<double>("real") == 0.5);
    REQUIRE(file.get<std::vector<std::int64_t>>("list") == std::vector<std::int64_t>{1, -2});
    REQUIRE(file.get<std::vector<std::string>>("words") == std::vector<std::string>{"a", "b"});
    REQUIRE(file.get<int>("byte") == 255);
    REQUIRE(file.get<bool>("truth"));
    REQUIRE(file.get<int>("small") == -3);
    REQUIRE(file.get<double>("wide") == 0.1);
    REQUIRE(file.get<std::int64_t>("long") == std::int64_t{1} << 40);
    REQUIRE(file.get<int>("minus") == -1);
    REQUIRE_FALSE(file.find<int>("none").has_value());
    REQUIRE_THROWS_AS(file.get<int>("none"), qlora::FormatError);
    REQUIRE_THROWS_AS(file.get<int>("text"), qlora::FormatError);
    REQUIRE(file.dense("w") == w);
    REQUIRE(file.tensor("b").shape == std::vector<qlora::Index>{4});
    REQUIRE_THROWS_AS(file.tensor("v"), qlora::FormatError);
  }
}

TEST_CASE("a file cut anywhere is refused and never read past its end") {
  const test::TemporaryFolder folder;
  GgufBuilder builder;
  builder.key("text", "hello").key("list", std::vector<std::string>{"a", "bc"}).key("count", 7u);
  builder.tensor("w", test::normal_matrix(3, 5, 1)).tensor("b", test::normal_matrix(2, 4, 2));
  const std::string whole = builder.bytes();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const auto text = refusal(folder, whole.substr(0, length));
    INFO("cut at " << length << ": " << text);
    REQUIRE(test::contains(text, "f.gguf"));
  }
}

TEST_CASE("a file with a changed byte is refused by name, or read within its bounds") {
  const test::TemporaryFolder folder;
  GgufBuilder builder;
  builder.key("text", "hello")
      .key("list", std::vector<std::string>{"a", "bc"})
      .key("general.alignment", 32u);
  builder.tensor("w", test::normal_matrix(3, 5, 1)).tensor("b", test::normal_matrix(2, 4, 2));
  const std::string whole = builder.bytes();
  int read = 0, refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const int change : {0x01, 0x80, 0xff}) {
      INFO("byte " << at << " changed by " << change);
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ change);
      const auto path = folder.write("f.gguf", changed);
      try {
        const qlora::GgufFile file(path);
        for (const auto& [name, tensor] : file.tensors()) {
          qlora::Index size = 1;
          for (const qlora::Index n : tensor.shape) size *= n;
          REQUIRE(file.dense(name).size() == size);
        }
        ++read;
      } catch (const qlora::Error& error) {
        REQUIRE(test::contains(error.what(), "f.gguf"));
        ++refused;
      }
    }
  // Numbers and texts may have any value; the other half of the bytes holds the file together.
  REQUIRE(read > 300);
  REQUIRE(refused > 300);
}

TEST_CASE("malformed files are refused with what was expected") {
  const test::TemporaryFolder folder;
  GgufBuilder good;
  good.tensor("w", test::normal_matrix(2, 4, 1));
  const std::string whole = good.bytes();
  REQUIRE(test::contains(refusal(folder, "PK" + whole), "magic 'GGUF'"));
  auto other = good;
  other.version = 1;
  REQUIRE(test::contains(refusal(folder, other.bytes()), "version 2 or 3, found 1"));
  GgufBuilder twice;
  twice.key("a", 1u).key("a", 2u);
  REQUIRE(test::contains(refusal(folder, twice.bytes()), "'a' comes twice"));
  GgufBuilder alignment;
  alignment.key("general.alignment", 24u);
  REQUIRE(test::contains(refusal(folder, alignment.bytes()), "power of two, found 24"));
  GgufBuilder type;
  type.tensor("w", {32}, 99, std::string(64, 'x'));
  REQUIRE(test::contains(refusal(folder, type.bytes()), "type 99 is not supported"));
  GgufBuilder row;
  row.tensor("w", {16}, 2, std::string(18, 'x'));
  REQUIRE(test::contains(refusal(folder, row.bytes()), "multiple of 32 for Q4_0, found 16"));
  GgufBuilder same;
  same.tensor("w", test::normal_matrix(2, 4, 1)).tensor("w", test::normal_matrix(2, 4, 1));
  REQUIRE(test::contains(refusal(folder, same.bytes()), "tensor 'w' comes twice"));
  std::string many = whole;
  many[8] = '\xff';  // the count of tensors
  many[15] = '\x7f';
  REQUIRE(test::contains(refusal(folder, many), "can't fit"));
}

TEST_CASE("a type that can't be decoded is refused when it is read, and its bytes are there") {
  const test::TemporaryFolder folder;
  GgufBuilder builder;
  builder.tensor("w", test::normal_matrix(2, 4, 1)).tensor("i", {2}, 26, "abcdefgh");
  const qlora::GgufFile file(folder.write("f.gguf", builder.bytes()));
  REQUIRE(file.dense("w") == test::normal_matrix(2, 4, 1));
  REQUIRE(file.tensor("i").bytes.size() == 8);
  const auto text = test::message_of<qlora::FormatError>([&] { (void)file.dense("i"); });
  REQUIRE(test::contains(text, "tensor 'i': type I32 is not supported; expected one of F32"));
}

TEST_CASE("a split model is read from its first file, and a wrong part is refused") {
  const test::TemporaryFolder folder;
  const auto write = [&](const std::string& name, std::uint16_t number, std::uint16_t count,
                         const std::string& tensor) {
    GgufBuilder builder;
    builder.number("split.no", 2, number).number("split.count", 2, count);
    builder.number("split.tensors.count", 5, std::int32_t{2});
    if (number == 0) builder.key("text", "hello");
    builder.tensor(tensor, test::normal_matrix(2, 4, number));
    return folder.write(name, builder.bytes());
  };
  const auto first = write("m-00001-of-00002.gguf", 0, 2, "a");
  const auto text = [&](const std::filesystem::path& path) {
    return test::message_of<qlora::Error>([&] { qlora::GgufFile file(path); });
  };
  REQUIRE(test::contains(text(first), "file 1 of 2 of a split model: expected file 2 beside it"));
  const auto second = write("m-00002-of-00002.gguf", 1, 2, "b");
  const qlora::GgufFile file(first);
  REQUIRE(file.files().size() == 2);
  REQUIRE(file.get<std::string>("text") == "hello");
  REQUIRE(file.raw_values().size() == 1);
  REQUIRE(file.dense("a") == test::normal_matrix(2, 4, 0));
  REQUIRE(file.dense("b") == test::normal_matrix(2, 4, 1));
  REQUIRE(test::contains(text(second), "name the first, m-00001-of-00002.gguf"));
  (void)write("m-00002-of-00002.gguf", 0, 2, "b");
  REQUIRE(test::contains(text(first), "expected file 2 of 2, found file 1 of 2"));
  (void)write("m-00002-of-00002.gguf", 1, 2, "a");
  REQUIRE(test::contains(text(first), "the tensor 'a' comes twice"));
  REQUIRE(test::contains(text(write("other.gguf", 0, 2, "a")), "ends in -00001-of-00002.gguf"));
}
