#include "qlora/tournament/read_categories.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"

TEST_CASE("categories are found by the question's id, a number or a text") {
  const test::TemporaryFolder folder;
  const auto categories = qlora::read_categories(
      folder.write("q.jsonl",
                   "{\"question_id\": 81, \"category\": \"writing\"}\n\n"
                   "{\"id\": \"x\", \"category\": \"math\", \"text\": \"...\"}\n"));
  REQUIRE(categories == std::map<std::string, std::string>{{"81", "writing"}, {"x", "math"}});
}

TEST_CASE("a line without an id or a category is an error that names file and line") {
  const test::TemporaryFolder folder;
  const auto message_of = [&](const std::string& text) {
    return folder.write("q.jsonl", "{\"id\": 1, \"category\": \"a\"}\n" + text);
  };
  REQUIRE_THROWS_WITH(qlora::read_categories(message_of("{\"category\": \"a\"}")),
                      test::contains("q.jsonl:2: expected an id"));
  REQUIRE_THROWS_WITH(qlora::read_categories(message_of("{\"id\": 2}")),
                      test::contains("q.jsonl:2: expected 'category'"));
  REQUIRE_THROWS_WITH(qlora::read_categories(message_of("{\"id\": 2, \"category\": 3}")),
                      test::contains("q.jsonl:2: category: expected a text, found number"));
  REQUIRE_THROWS_AS(qlora::read_categories(message_of("no")), qlora::FormatError);
  REQUIRE_THROWS_AS(qlora::read_categories(folder / "none"), qlora::IoError);
}
