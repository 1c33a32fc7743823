#include "qlora/io/json_file.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

TEST_CASE("a JSON file is read; a broken one is named with the place") {
  const test::TemporaryFolder folder;
  REQUIRE(qlora::read_json_file(folder.write("a.json", R"({"x": [1, 2]})"))["x"][1] == 2);
  const auto broken = folder.write("b.json", "{\"x\": [1,\n}");
  const auto text =
      test::message_of<qlora::FormatError>([&] { (void)qlora::read_json_file(broken); });
  REQUIRE(test::contains(text, broken.string()));
  REQUIRE(test::contains(text, "line 2"));
}

TEST_CASE("a key that comes twice in one object is refused, in two objects it is fine") {
  REQUIRE_THROWS_AS(qlora::parse_json("here", R"({"a": 1, "a": 2})"), qlora::FormatError);
  REQUIRE_THROWS_AS(qlora::parse_json("here", R"({"o": {"a": 1, "a": 2}})"), qlora::FormatError);
  REQUIRE(qlora::parse_json("here", R"({"o": {"a": 1}, "a": 2})")["a"] == 2);
}

TEST_CASE("a missing file or a folder is an IoError") {
  const test::TemporaryFolder folder;
  REQUIRE_THROWS_AS(qlora::read_text_file(folder / "missing"), qlora::IoError);
  REQUIRE_THROWS_AS(qlora::read_text_file(folder.path()), qlora::IoError);
}
