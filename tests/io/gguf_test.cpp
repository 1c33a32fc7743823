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

TEST_CASE("changed bytes never crash the GGUF reader") {
  const test::TemporaryFolder folder;
  GgufBuilder builder;
  builder.key("text", "hello")
      .key("list", std::vector<std::string>{"a", "bc"})
      .key("general.alignment", 32u);
  builder.tensor("w", test::normal_matrix(3, 5, 1)).tensor("b", test::normal_matrix(2, 4, 2));
  const std::string whole = builder.bytes();
  test::law("read or refused", [&](std::uint16_t at, std::uint8_t value) {
    std::string changed = whole;
    changed[at % 300 % whole.size()] = static_cast<char>(value);
    try {
      const qlora::GgufFile file(folder.write("f.gguf", changed));
      for (const auto& [name, tensor] : file.tensors()) (void)file.dense(name);
    } catch (const qlora::Error&) {
    }
  });
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
