#include "qlora/tournament/relative_scores.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/files.hpp"

using qlora::ReadingNotes;

TEST_CASE("a system's percent is its points over the reference's, both orders together") {
  const test::TemporaryFolder folder;
  folder.write(
      "a-vs-ref-gpt4-reviewer.jsonl",
      "{\"question_id\": 1, \"score\": [9, 8]}\n{\"question_id\": 2, \"score\": [5, 10]}\n");
  folder.write("ref-vs-a-gpt4-reviewer.jsonl",
               "{\"question_id\": 1, \"score\": [8, 7]}\n{\"question_id\": 2, \"score\": -1}\n");
  folder.write("ref-vs-b-vicuna-generations-x-gpt4-reviewer.jsonl",
               "{\"question_id\": 1, \"score\": [6, 4]}\n");  // the 6 is b's
  ReadingNotes notes;
  const qlora::PointSet set = qlora::read_points(folder.path(), {}, notes);
  REQUIRE(set.reference == "ref");
  REQUIRE(set.swapped_files == 1);
  REQUIRE(notes.unparsed == 1);
  const auto scores = qlora::relative_scores(set);
  REQUIRE(scores[0].system == "b");
  REQUIRE(scores[0].percent == Approx(150));
  REQUIRE(scores[1].percent == Approx(100.0 * 21 / 26));
  REQUIRE(scores[1].named_first == Approx(100.0 * 14 / 18));
  REQUIRE(scores[1].named_second == Approx(100.0 * 7 / 8));
  REQUIRE(scores[1].judgements == 3);
  REQUIRE(scores[1].questions == 2);
  // Only two draws differ from the whole: the first question twice or the second twice.
  REQUIRE(scores[1].low == Approx(50));
  REQUIRE(scores[1].high == Approx(100));
  const auto as_named =
      qlora::relative_scores(qlora::read_points(folder.path(), {.swapped = ""}, notes));
  REQUIRE(as_named[1].percent == Approx(100.0 * 4 / 6));
}

TEST_CASE("broken points are counted and named; a system without points is last") {
  const test::TemporaryFolder folder;
  folder.write("a-vs-ref-gpt4-reviewer.jsonl",
               "{\"question_id\": 1, \"score\": [9]}\n{\"question_id\": 2, \"score\": [-1, -1]}\n"
               "{\"question_id\": 3, \"score\": [-2, 4]}\n");
  folder.write("b-vs-ref-gpt4-reviewer.jsonl", "{\"question_id\": 1, \"score\": [1, 2]}\n");
  ReadingNotes notes;
  const auto scores = qlora::relative_scores(qlora::read_points(folder.path(), {}, notes));
  REQUIRE(notes.unknown_scores.size() == 2);
  REQUIRE(notes.unparsed == 1);
  REQUIRE(notes.never_plays == std::vector<std::string>{"a"});
  REQUIRE(scores.front().system == "b");
  REQUIRE(std::isnan(scores.back().percent));
}

TEST_CASE("no common system, an unknown reference and a broken expression are errors") {
  const test::TemporaryFolder folder;
  folder.write("a-vs-b-gpt4-reviewer.jsonl", "{\"question_id\": 1, \"score\": [9, 8]}\n");
  folder.write("c-vs-d-gpt4-reviewer.jsonl", "{\"question_id\": 1, \"score\": [9, 8]}\n");
  ReadingNotes notes;
  REQUIRE_THROWS_WITH(qlora::read_points(folder.path(), {}, notes), test::contains("reference"));
  REQUIRE_THROWS_WITH(qlora::read_points(folder.path(), {.reference = "e"}, notes),
                      test::contains("'e'"));
  REQUIRE_THROWS_AS(qlora::read_points(folder.path(), {.swapped = "("}, notes), qlora::FormatError);
  const auto set = qlora::read_points(folder.path(), {.reference = "b"}, notes);
  REQUIRE(set.points.size() == 1);
  REQUIRE_THAT(notes.broken_lines.back(), test::contains("neither c nor d is b"));
}

TEST_CASE("where no points can be used the message says what the first line lacks") {
  const test::TemporaryFolder folder;
  folder.write("a-vs-b-gpt4-reviewer.jsonl", "{\"review_id\": 1, \"score\": [9, 8]}\n");
  ReadingNotes notes;
  REQUIRE_THROWS_WITH(qlora::read_points(folder.path(), {.reference = "b"}, notes),
                      test::contains("reviewer.jsonl:1: expected an id"));
}

TEST_CASE("a single file of points is read, its questions named by message_id") {
  const test::TemporaryFolder folder;
  const auto file =
      folder.write("a-vs-b-gpt4-reviewer.jsonl", "{\"message_id\": \"m\", \"score\": [9, 6]}\n");
  ReadingNotes notes;
  const auto scores = qlora::relative_scores(qlora::read_points(file, {.reference = "b"}, notes));
  REQUIRE(scores.front().percent == Approx(150));
}
