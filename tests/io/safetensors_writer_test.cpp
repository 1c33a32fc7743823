#include "qlora/io/safetensors_writer.hpp"

#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

using qlora::Index;

TEST_CASE("tensors of every type come back from the file, in any order of adding") {
  const test::TemporaryFolder folder;
  const auto path = folder / "w.safetensors";
  const std::vector<float> floats{1, -2.5f, 3e-40f};
  const std::vector<qlora::bfloat16> halves{qlora::bfloat16(0.5f), qlora::bfloat16(-3)};
  const std::vector<std::uint8_t> bytes{1, 2, 250};
  qlora::SafetensorsWriter file(path, {"z", "a \"quoted\" name", "empty", "b"}, {{"format", "pt"}});
  file.add<std::uint8_t>("z", {3, 1}, bytes);
  file.add<float>("b", {3}, floats);
  file.add<qlora::bfloat16>("a \"quoted\" name", {1, 2}, halves);
  file.add<float>("empty", {0, 7}, {});
  REQUIRE(folder.names().size() == 1);  // the temporary
  file.commit();
  REQUIRE(folder.names() == std::vector<std::string>{"w.safetensors"});
  const qlora::SafetensorsFile read(path);
  REQUIRE(read.tensors().size() == 4);
  REQUIRE(read.metadata().at("format") == "pt");
  REQUIRE(read.tensor("z").shape == std::vector<Index>{3, 1});
  REQUIRE(static_cast<int>(read.tensor("z").bytes[2]) == 250);
  REQUIRE(read.tensor("empty").shape == std::vector<Index>{0, 7});
  REQUIRE(test::same_bits(read.dense("b").data(), floats.data(), 3));
  REQUIRE(read.dense("a \"quoted\" name")(0, 1) == -3.f);
}

TEST_CASE("names that were not announced, come twice or never, and wrong sizes are refused") {
  const test::TemporaryFolder folder;
  const std::vector<float> one{1};
  {
    qlora::SafetensorsWriter file(folder / "w.safetensors", {"a", "b"});
    file.add<float>("a", {1}, one);
    REQUIRE_THROWS_AS(file.add<float>("a", {1}, one), qlora::FormatError);
    REQUIRE_THROWS_AS(file.add<float>("c", {1}, one), qlora::FormatError);
    REQUIRE_THROWS_AS(file.add<float>("b", {2}, one), qlora::FormatError);
    const auto text = test::message_of<qlora::FormatError>([&] { file.commit(); });
    REQUIRE(test::contains(text, "'b' was announced"));
  }
  REQUIRE(folder.names().empty());
}
