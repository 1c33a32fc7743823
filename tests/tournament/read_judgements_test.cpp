#include "qlora/tournament/read_judgements.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"

using qlora::ReadingNotes;

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

TEST_CASE("a line that lacks its score or id is left out by the keys that it has") {
  const test::TemporaryFolder folder;
  folder.write("a-vs-b-gpt4-reviewer.jsonl",
               "{\"question_id\": 1, \"score\": 1}\n"
               "{\"question_id\": 2}\n"
               "{\"review_id\": \"x\", \"score\": 2}\n"
               "{\"message_id\": null, \"score\": 2}\n"
               "{\"id\": 3, \"score\": 1, \"score\": 2}\n");
  ReadingNotes notes;
  REQUIRE(qlora::read_tournament(folder.path(), notes).judgements.size() == 1);
  const std::string file = "a-vs-b-gpt4-reviewer.jsonl";
  REQUIRE(notes.broken_lines ==
          std::vector<std::string>{
              file + ":2: expected 'score', found the keys question_id",
              file +
                  ":3: expected an id (question_id, message_id, prompt_id or id), found the keys "
                  "review_id, score",
              file + ":4: message_id: expected a number or a text, found null",
              file + ":5: the name 'score' comes twice"});
}

TEST_CASE("an id has any usual name, and the question's own comes before the line's") {
  const test::TemporaryFolder folder;
  folder.write("answer-a-oa-generations-topp0.9-vs-answer-b-gpt-4-reviewer-threeclass.jsonl",
               "{\"message_id\": \"q\", \"id\": \"line 1\", \"score\": 1}\n"
               "{\"prompt_id\": \"r\", \"score\": 3}\n"
               "{\"id\": 7, \"score\": 2}\n");
  ReadingNotes notes;
  const qlora::Tournament set = qlora::read_tournament(folder.path(), notes);
  REQUIRE(set.systems == std::vector<std::string>{"a", "b"});
  REQUIRE(set.questions == std::vector<std::string>{"q", "r", "7"});
  REQUIRE(notes.broken_lines.empty());
}

TEST_CASE("arena battles are read as an array and as lines, with and without ids") {
  const test::TemporaryFolder folder;
  const std::string battles[] = {
      R"~({"question_id": "q", "model_a": "y", "model_b": "x", "winner": "model_a", "turn": 1})~",
      R"~({"model_a": "x", "model_b": "y", "winner": "tie (bothbad)", "conversation_a": [{"a": 1}]})~",
      R"~({"model_a": "x", "model_b": "z", "winner": "model_b"})~",
      R"~({"model_a": "x", "model_b": "z", "winner": "tie"})~",
      R"~({"model_a": "x", "model_b": "z", "winner": "nobody"})~",
      R"~({"model_a": "x", "model_b": "x", "winner": "tie"})~",
      R"~({"model_a": "x", "model_b": "z"})~"};
  std::string array, lines;
  for (const std::string& battle : battles) {
    array += (array.empty() ? "[\n  " : ",\n  ") + battle;
    lines += battle + "\n";
  }
  for (const auto& path : {folder.write("battles.json", array + ", 5]\n"),
                           folder.write("battles.jsonl", lines + "5\n")}) {
    ReadingNotes notes;
    const qlora::Tournament set = qlora::read_tournament(path, notes);
    REQUIRE(set.systems == std::vector<std::string>{"x", "y", "z"});
    REQUIRE(set.questions.size() == 4);
    REQUIRE(set.questions.front() == "q");
    REQUIRE(set.judgements.size() == 4);
    REQUIRE(set.judgements[0].first == 1);
    REQUIRE(set.judgements[0].verdict == qlora::Verdict::first);
    REQUIRE(set.judgements[1].verdict == qlora::Verdict::tie);
    REQUIRE(set.judgements[2].verdict == qlora::Verdict::second);
    REQUIRE(set.judgements[3].verdict == qlora::Verdict::tie);
    REQUIRE(notes.lines == 8);
    REQUIRE(notes.unknown_scores.size() == 1);
    REQUIRE_THAT(notes.unknown_scores[0], test::contains("found nobody"));
    REQUIRE(notes.broken_lines.size() == 3);
    REQUIRE_THAT(notes.broken_lines[0], test::contains("found x twice"));
    REQUIRE_THAT(notes.broken_lines[1], test::contains("expected 'winner'"));
    REQUIRE_THAT(notes.broken_lines[2], test::contains("found no JSON object but number"));
  }
  ReadingNotes notes;
  const auto cut = folder.write("cut.json", array);
  REQUIRE(qlora::read_tournament(cut, notes).judgements.size() == 4);
  REQUIRE_THAT(notes.broken_lines.back(), test::contains("cut.json: after entry 7"));
}

TEST_CASE("a pair of MT-bench is two games with the order swapped") {
  const test::TemporaryFolder folder;
  const auto line = [](int id, const std::string& first, const std::string& second, int turn) {
    return R"({"model_1": "p", "model_2": "q", "question_id": )" + std::to_string(id) +
           R"(, "g1_winner": ")" + first + R"(", "g2_winner": ")" + second + R"(", "turn": )" +
           std::to_string(turn) + "}\n";
  };
  const auto path = folder.write("gpt-4_pair.jsonl", line(81, "model_1", "model_1", 1) +
                                                         line(81, "tie", "error", 2) +
                                                         line(82, "model_3", "tie", 1));
  ReadingNotes notes;
  const qlora::Tournament set = qlora::read_tournament(path, notes);
  REQUIRE(set.judgements.size() == 4);
  REQUIRE(set.judgements[0].first == 0);
  REQUIRE(set.judgements[0].verdict == qlora::Verdict::first);
  REQUIRE(set.judgements[1].first == 1);
  REQUIRE(set.judgements[1].verdict == qlora::Verdict::second);
  REQUIRE(set.judgements[2].verdict == qlora::Verdict::tie);
  REQUIRE(set.judgements[3].verdict == qlora::Verdict::unparsed);
  REQUIRE(notes.unparsed == 1);
  REQUIRE(notes.duplicates.empty());  // another turn is another judgement
  REQUIRE_THAT(notes.unknown_scores.at(0), test::contains("g1_winner"));
  REQUIRE(qlora::combined_matches(set).front().result == 1);
}

TEST_CASE("where no line can be used the message says what the first one lacks") {
  const test::TemporaryFolder folder;
  ReadingNotes notes;
  const auto lacks_id =
      folder.write("a-vs-b-gpt4-reviewer.jsonl", "{\"review_id\": \"x\", \"score\": 1}\n");
  REQUIRE_THROWS_WITH(qlora::read_tournament(lacks_id, notes),
                      test::contains("reviewer.jsonl:1: expected an id") &&
                          test::contains("found the keys review_id, score"));
  ReadingNotes others;
  const auto single = folder.write(
      "single.jsonl", "{\"question_id\": 1, \"model\": \"a\", \"score\": 7, \"turn\": 1}\n");
  REQUIRE_THROWS_WITH(qlora::read_tournament(single, others),
                      test::contains("single.jsonl:1: expected an arena battle") &&
                          test::contains("found the keys model, question_id, score, turn"));
  REQUIRE_THROWS_WITH(qlora::read_tournament(folder.write("empty.json", "[]"), notes),
                      test::contains("empty.json"));
}
