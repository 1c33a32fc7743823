#include "qlora/eval/questions.hpp"

#include <algorithm>

#include "support/catch.hpp"
#include "support/files.hpp"

using qlora::Index;
using qlora::QuestionNotes;

TEST_CASE("questions have a number or a text as answer, and a blank before their choices") {
  const test::TemporaryFolder folder;
  const auto path = folder.write(
      "q.jsonl",
      "{\"prompt\": \"a?\", \"choices\": [\"x\", \"y\"], \"answer\": 1, \"subject\": \"s\"}\n"
      "{\"prompt\": \"b \", \"choices\": [\"x\", \"y\"], \"answer\": \"x\"}\n"
      "{\"prompt\": \"c\", \"choices\": [\" x\", \"\\ny\"], \"answer\": 0}\n");
  QuestionNotes notes;
  const auto questions = qlora::read_questions(path, notes);
  REQUIRE(questions.size() == 3);
  REQUIRE(notes.broken_lines.empty());
  REQUIRE(questions[0].choices == std::vector<std::string>{" x", " y"});
  REQUIRE(questions[0].answer == 1);
  REQUIRE(questions[0].subject == "s");
  REQUIRE(questions[1].choices == std::vector<std::string>{"x", "y"});
  REQUIRE(questions[1].answer == 0);
  REQUIRE(questions[2].choices == std::vector<std::string>{" x", "\ny"});
}

TEST_CASE("broken questions are left out and named") {
  const test::TemporaryFolder folder;
  const auto path = folder.write("q.jsonl",
                                 "{\"prompt\": \"a\", \"choices\": [\"x\", \"y\"], \"answer\": 2}\n"
                                 "{\"prompt\": \"a\", \"choices\": [\"x\"], \"answer\": 0}\n"
                                 "{\"prompt\": \"a\", \"choices\": [\"x\", \"\"], \"answer\": 0}\n"
                                 "{\"prompt\": \"a\"}\n"
                                 "{\"prompt\"\n"
                                 "{\"prompt\": \"a\", \"choices\": [\"x\", \"y\"], \"answer\": 0}");
  QuestionNotes notes;
  REQUIRE(qlora::read_questions(path, notes).size() == 1);
  REQUIRE(notes.broken_lines.size() == 5);
  REQUIRE_THAT(notes.broken_lines[0],
               Catch::Matchers::StartsWith("q.jsonl:1: answer: expected a number below 2"));
  REQUIRE_THAT(notes.broken_lines[3],
               Catch::Matchers::StartsWith("q.jsonl:4: choices: expected a list of texts"));
  REQUIRE_THAT(notes.broken_lines[4], Catch::Matchers::StartsWith("q.jsonl:5: no JSON: "));
  REQUIRE_THROWS_WITH(qlora::read_questions(folder.write("none.jsonl", "\n"), notes),
                      test::contains("none.jsonl"));
  REQUIRE_THROWS_AS(qlora::read_questions(folder / "missing.jsonl", notes), qlora::IoError);
}

TEST_CASE("questions may be one list, and are never an archive") {
  const test::TemporaryFolder folder;
  QuestionNotes notes;
  const auto path =
      folder.write("q.json",
                   "[\n{\"prompt\": \"a\", \"choices\": [\"x\", \"y\"], \"answer\": 0},\n"
                   "{\"prompt\": 3}]");
  REQUIRE(qlora::read_questions(path, notes).size() == 1);
  REQUIRE(notes.broken_lines ==
          std::vector<std::string>{"q.json:3: prompt: expected a text, found a number"});
  REQUIRE_THROWS_WITH(qlora::read_questions(folder.write("q.jsonl", "\x1f\x8b\x08"), notes),
                      test::contains("gzip"));
}

TEST_CASE("shots are other questions of the subject, answered, after the headline") {
  const test::TemporaryFolder folder;
  std::string lines;
  for (const char* subject : {"one", "two"})
    for (const char* name : {"p", "q", "r"})
      lines += std::string("{\"subject\": \"") + subject + "\", \"input\": \"About  " + subject +
               ".\\n\\n" + name + "\\nA. 1\\nB. 2\\nC. 3\\nD. 4\\nAnswer:\", \"output\": \"C\"}\n";
  const auto path = folder.write("mmlu.json", lines);
  QuestionNotes notes;
  const auto plain = qlora::read_mmlu(path, {}, notes);
  REQUIRE(plain.size() == 6);
  REQUIRE(plain[0].prompt == "About  one.\n\np\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:");
  REQUIRE(plain[0].answer == 2);
  REQUIRE(plain[0].choices == std::vector<std::string>{" A", " B", " C", " D"});

  const auto shown = qlora::read_mmlu(path, {.shots = 2}, notes);
  REQUIRE(notes.fewer_shots == 0);
  const std::string body = "\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:";
  const std::string qr = "About  one.\n\nq" + body + " C\n\nr" + body + " C\n\np" + body;
  const std::string rq = "About  one.\n\nr" + body + " C\n\nq" + body + " C\n\np" + body;
  REQUIRE((shown[0].prompt == qr || shown[0].prompt == rq));
  REQUIRE(shown[5].prompt.find("one") == std::string::npos);
  REQUIRE(qlora::read_mmlu(path, {.shots = 2}, notes)[3].prompt == shown[3].prompt);

  QuestionNotes fewer;
  REQUIRE(qlora::read_mmlu(path, {.shots = 5}, fewer).size() == 6);
  REQUIRE(fewer.fewer_shots == 6);
}

TEST_CASE("MMLU lines without a letter are left out and named") {
  const test::TemporaryFolder folder;
  QuestionNotes notes;
  const auto path =
      folder.write("mmlu.json",
                   "{\"subject\": \"s\", \"input\": \"q\", \"output\": \"E\"}\n"
                   "{\"subject\": \"s\", \"input\": \"q\", \"output\": \"A\"}\n{\"input\": 3}\n");
  REQUIRE(qlora::read_mmlu(path, {}, notes).size() == 1);
  REQUIRE(notes.broken_lines.size() == 2);
}
