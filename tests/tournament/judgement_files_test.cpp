#include "qlora/tournament/judgement_files.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"

TEST_CASE("systems and reviewers are read from names, hyphens and all") {
  const auto systems = [](const std::string& file) {
    qlora::tournament_detail::JudgedPair pair;
    return qlora::tournament_detail::systems_of_file(file, pair) ? pair.first + " " + pair.second
                                                                 : "";
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

TEST_CASE("the files of a folder come in the order of their names, a file is itself") {
  const test::TemporaryFolder folder;
  const auto second = folder.write("b.json", "[]"), first = folder.write("a.json", "[]");
  REQUIRE(qlora::judgement_files(folder.path()) ==
          std::vector<std::filesystem::path>{first, second});
  REQUIRE(qlora::judgement_files(second) == std::vector<std::filesystem::path>{second});
  REQUIRE_THROWS_AS(qlora::judgement_files(folder / "none"), qlora::IoError);
}

TEST_CASE("records are lines, or elements of an array, and each is named by its place") {
  const test::TemporaryFolder folder;
  const auto places = [&](const std::filesystem::path& path, qlora::ReadingNotes& notes) {
    std::vector<std::string> all;
    qlora::for_each_record(path, notes,
                           [&](const std::string& where, const nlohmann::json& record) {
                             qlora::require<qlora::FormatError>(record.contains("a"), "no a");
                             all.push_back(where);
                           });
    return all;
  };
  qlora::ReadingNotes of_lines, of_array;
  REQUIRE(places(folder.write("x.jsonl", "{\"a\": 1}\n\n{}\nno\n{\"a\": 2}"), of_lines) ==
          std::vector<std::string>{"x.jsonl:1", "x.jsonl:5"});
  REQUIRE(of_lines.lines == 4);
  REQUIRE(of_lines.broken_lines.size() == 2);
  REQUIRE(of_lines.broken_lines[0] == "x.jsonl:3: no a");
  REQUIRE(places(folder.write("x.json", " [{\"a\": 1}, {}, {\"a\": [1]}]"), of_array) ==
          std::vector<std::string>{"x.json: entry 1", "x.json: entry 3"});
  REQUIRE(of_array.broken_lines == std::vector<std::string>{"x.json: entry 2: no a"});
}

TEST_CASE("a name that comes twice in an element ends an array, and says where") {
  const test::TemporaryFolder folder;
  qlora::ReadingNotes notes;
  qlora::for_each_record(folder.write("x.json", "[{}, {\"a\": 1, \"a\": 2}, {}]"), notes,
                         [](const std::string&, const nlohmann::json&) {});
  REQUIRE(notes.lines == 1);
  REQUIRE_THAT(notes.broken_lines.at(0), test::contains("entry 2: the name 'a' comes twice"));
}

TEST_CASE("what can't be used is shown by its first example") {
  qlora::ReadingNotes notes;
  REQUIRE(notes.first_unused().empty());
  notes.other_files = {"readme"};
  notes.broken_lines = {"x:1", "x:2"};
  REQUIRE(notes.first_unused() == "; the first that can't be used: x:1");
}
