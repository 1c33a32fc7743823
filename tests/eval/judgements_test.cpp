#include "qlora/eval/judgements.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"

using qlora::ReadingNotes;

TEST_CASE("systems and reviewers are read from names, hyphens and all") {
  const auto systems = [](const std::string& file) {
    qlora::detail::JudgedPair pair;
    return qlora::detail::systems_of_file(file, pair) ? pair.first + " " + pair.second : "";
  };
  REQUIRE(systems("a-vs-b-gpt4-reviewer.jsonl") == "a b");
  REQUIRE(systems("answer-gpt4-vs-answer-vicuna-13b-gpt-4-reviewer-threeclass.jsonl") ==
          "gpt4 vicuna-13b");
  REQUIRE(systems("7b-x-vicuna-generations-topp0.9-vs-gpt-3.5-gpt4-reviewer.jsonl") ==
          "7b-x gpt-3.5");
  REQUIRE(systems("gpt-3.5-vs-7b-x-oa-generations-topp0.9-gpt-4-reviewer.jsonl") == "gpt-3.5 7b-x");
  REQUIRE(systems("a-vs-gpt4-human-reviewer.jsonl") == "a gpt4");
  REQUIRE(systems("a-vs-b.jsonl").empty());
  REQUIRE(systems("a-b-gpt4-reviewer.jsonl").empty());
  REQUIRE(systems("a-vs-b-gpt4-reviewer.json").empty());
}

TEST_CASE("verdicts are read; what can't be used is left out, counted and named") {
  const test::TemporaryFolder folder;
  folder.write("a-vs-b-gpt4-reviewer.jsonl",
               "{\"question_id\": 1, \"score\": 1}\n"
               "not json\n"
               "\n"
               "{\"question_id\": 2, \"score\": 7}\n"
               "{\"question_id\": 3, \"score\": \"1\"}\n"
               "{\"question_id\": 4}\n"
               "{\"question_id\": 5, \"score\": -1}\n"
               "{\"question_id\": 1, \"score\": 3}\n"
               "[1, 2]\n");
  folder.write("b-vs-a-gpt4-reviewer.jsonl", "{\"question_id\": \"1\", \"score\": 2}");
  folder.write("c-vs-a-gpt4-reviewer.jsonl", "{\"question_id\": 1, \"score\": -1}\n");
  folder.write("a-vs-a-gpt4-reviewer.jsonl", "{\"question_id\": 1, \"score\": 1}\n");
  folder.write("README.md", "of the data");
  ReadingNotes notes;
  const qlora::Tournament set = qlora::read_tournament(folder.path(), notes);
  REQUIRE(set.systems == std::vector<std::string>{"a", "b", "c"});
  REQUIRE(set.judgements.size() == 5);
  REQUIRE(qlora::matches(set).size() == 3);
  REQUIRE(notes.files == 3);
  REQUIRE(notes.lines == 10);
  REQUIRE(notes.unparsed == 2);
  REQUIRE(notes.other_files.size() == 2);
  REQUIRE(notes.broken_lines.size() == 3);
  REQUIRE_THAT(notes.broken_lines[0],
               Catch::Matchers::StartsWith("a-vs-b-gpt4-reviewer.jsonl:2: "));
  REQUIRE_THAT(notes.broken_lines[1], test::contains(":6: "));
  REQUIRE(notes.unknown_scores.size() == 2);
  REQUIRE_THAT(notes.unknown_scores[0], test::contains(":4: ") && test::contains("found 7"));
  REQUIRE(notes.duplicates.size() == 1);
  REQUIRE_THAT(notes.duplicates[0], test::contains(":8: question 1 of a and b"));
  REQUIRE(notes.never_plays == std::vector<std::string>{"c"});
  // A question's number and its text are the same question.
  REQUIRE(qlora::both_orders(set).size() == 1);
}

TEST_CASE("folders without a judgement are an error that names them") {
  const test::TemporaryFolder folder;
  ReadingNotes notes;
  REQUIRE_THROWS_AS(qlora::read_tournament(folder / "none", notes), qlora::IoError);
  REQUIRE_THROWS_WITH(qlora::read_tournament(folder.path(), notes),
                      test::contains(folder.path().string()));
  folder.write("a-vs-b-gpt4-reviewer.jsonl", "{\"question_id\": 1, \"score\": -1}\n");
  REQUIRE_THROWS_AS(qlora::read_tournament(folder.path(), notes), qlora::FormatError);
}
