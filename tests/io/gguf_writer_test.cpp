#include "qlora/io/gguf_writer.hpp"

#include <string>
#include <vector>

#include "qlora/io/gguf.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"
#include "support/tiny_model.hpp"

using qlora::GgufTypeId, qlora::RowMatrixXf;

TEST_CASE("keys of every kind and tensors come back from the file") {
  const test::TemporaryFolder folder;
  const RowMatrixXf w = test::normal_matrix(3, 5, 1);
  qlora::GgufWriter file;
  file.set("text", "hello");
  file.set("whole", std::uint32_t{7});
  file.set("long", std::int64_t{-5});
  file.set("real", 0.5f);
  file.set("truth", true);
  file.set("list", std::vector<std::string>{"a", ""});
  file.set("numbers", std::vector<std::int32_t>{3, -4});
  file.set("whole", std::uint32_t{8});  // in place of the first
  file.declare("w", {3, 5}, GgufTypeId::f32);
  file.declare("v", {32}, GgufTypeId::q8_0);
  file.open(folder / "m.gguf");
  file.write(std::as_bytes(std::span(w.data(), 15)));
  const std::string block = std::string("\x00\x38", 2) + std::string(32, '\x02');
  file.write(std::as_bytes(std::span(block)));
  file.commit();

  const qlora::GgufFile read(folder / "m.gguf");
  REQUIRE(read.get<std::string>("text") == "hello");
  REQUIRE(read.get<int>("whole") == 8);
  REQUIRE(read.get<int>("long") == -5);
  REQUIRE(read.get<double>("real") == 0.5);
  REQUIRE(read.get<bool>("truth"));
  REQUIRE(read.get<std::vector<std::string>>("list") == std::vector<std::string>{"a", ""});
  REQUIRE(read.get<std::vector<std::int64_t>>("numbers") == std::vector<std::int64_t>{3, -4});
  REQUIRE(test::same_bits(read.dense("w"), w));
  REQUIRE(read.dense("v")(0, 31) == 1.f);
}

TEST_CASE("raw values copied from another file are the same") {
  const test::TemporaryFolder folder;
  const qlora::GgufFile from(folder.write("a.gguf", test::TinyModel().bytes()));
  qlora::GgufWriter file;
  for (const auto& [key, value] : from.raw_values()) file.set_raw(key, value);
  file.open(folder / "b.gguf");
  file.commit();
  const qlora::GgufFile to(folder / "b.gguf");
  REQUIRE(to.raw_values().size() == from.raw_values().size());
  for (const auto& [key, value] : from.raw_values())
    REQUIRE(std::equal(value.begin(), value.end(), to.raw_values().at(key).begin(),
                       to.raw_values().at(key).end()));
}

TEST_CASE("tensors of a wrong size, too many, too few, and rows of half a block are refused") {
  const test::TemporaryFolder folder;
  {
    qlora::GgufWriter file;
    REQUIRE_THROWS_AS(file.declare("w", {4, 33}, GgufTypeId::q4_0), qlora::FormatError);
    REQUIRE_THROWS_AS(file.declare("w", {4, 32}, GgufTypeId{99}), qlora::FormatError);
    file.declare("w", {1, 32}, GgufTypeId::q4_0);
    file.open(folder / "m.gguf");
    const std::string bytes(18, 'x');
    REQUIRE_THROWS_AS(file.commit(), qlora::FormatError);
    REQUIRE_THROWS_AS(file.write(std::as_bytes(std::span(bytes).first(17))), qlora::FormatError);
    file.write(std::as_bytes(std::span(bytes)));
    REQUIRE_THROWS_AS(file.write(std::as_bytes(std::span(bytes))), qlora::FormatError);
  }
  REQUIRE(folder.names().empty());
}
