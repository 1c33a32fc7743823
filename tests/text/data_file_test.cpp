#include "qlora/text/data_file.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

namespace {

using namespace std::string_literals;

std::string file_refusal(const std::string& name, const std::string& bytes) {
  const test::TemporaryFolder folder;
  const auto path = folder.write(name, bytes);
  return test::message_of<qlora::FormatError>([&] { (void)qlora::read_data_text(path); });
}

std::string rows_refusal(const std::string& text) {
  return test::message_of<qlora::FormatError>([&] { (void)qlora::json_rows("d", text); });
}

// The lines and values of a text's objects.
std::vector<std::pair<std::size_t, std::string>> rows(const std::string& text) {
  std::vector<std::pair<std::size_t, std::string>> all;
  for (const auto& row : qlora::json_rows("d", text)) all.emplace_back(row.line, row.value.dump());
  return all;
}

}  // namespace

TEST_CASE("archives, tables and other encodings are refused by name") {
  for (const auto& [name, bytes, what] : std::vector<std::array<std::string, 3>>{
           {"a.txt", "\x1f\x8b\x08", "this is gzip"},
           {"a.jsonl", "PK\x03\x04...", "this is a zip archive"},
           {"a", "PAR1", "this is Parquet"},
           {"a.arrow", "ARROW1\0\0"s, "this is Arrow"},
           {"a.bz2", "BZh9", "this is bzip2"},
           {"a.xz",
            "\xfd"
            "7zXZ\0"s,
            "this is xz"},
           {"a.zst", "\x28\xb5\x2f\xfd", "this is zstd"},
           {"a.db", "SQLite format 3\0"s, "this is an SQLite database"},
           {"a.pdf", "%PDF-1.4", "this is PDF"},
           {"a.txt", "GGUF\x03", "this is a GGUF model"},
           {"a.txt", "\xff\xfeh\0i\0"s, "this is UTF-16 or UTF-32"},
           {"a.txt", "\xfe\xff\0h"s, "this is UTF-16"},
           {"a.txt", "h\0i\0\n\0"s, "a zero byte in line 1"},
           {"a.txt", "one\ntwo\xe9\n", "a.txt:2: byte 7 is no UTF-8"},
           {"a.csv", "a;b", "this is a table (CSV)"},
           {"a.TSV", "a b", "this is a table (TSV)"},
           {"a.txt", "\"instruction\",\"output\"\r\n\"a\",\"b\"", "this is a table (CSV)"},
           {"data", "prompt\tcompletion\na\tb\n", "this is a table (TSV)"}}) {
    INFO(name << ": " << file_refusal(name, bytes));
    REQUIRE(test::contains(file_refusal(name, bytes), what));
    REQUIRE(test::contains(file_refusal(name, bytes), name));
  }
  REQUIRE(file_refusal("a.txt", "text, input and more\n") == "nothing was thrown");
  REQUIRE(file_refusal("a.txt", "") == "nothing was thrown");
}

TEST_CASE("a byte order mark is no part of the text") {
  const test::TemporaryFolder folder;
  REQUIRE(qlora::read_data_text(folder.write("a", "\xef\xbb\xbfhi")) == "hi");
  REQUIRE_THROWS_AS(qlora::read_data_text(folder / "none"), qlora::IoError);
}

TEST_CASE("JSON is told by the extension in any case, or by how the text begins") {
  for (const char* name : {"a.json", "a.JSONL", "a.ndjson"}) REQUIRE(qlora::holds_json(name, ""));
  for (const char* text : {"{\"a\":1}", " \n{ \"a\"", "[{\"a\"", "[\r\n {\n\"a\": 1}]"})
    REQUIRE(qlora::holds_json("a", text));
  for (const char* text : {"", "{", "[", "[1] a note", "{a}", "text {\"a\":1}", "[[\"a\"]]"})
    REQUIRE_FALSE(qlora::holds_json("a.txt", text));
}

TEST_CASE("objects are read line by line or from a list, with their lines") {
  using Rows = std::vector<std::pair<std::size_t, std::string>>;
  REQUIRE(rows("{\"b\":1,\"a\":2}\r\n\r\n  \n{}\n") == Rows{{1, R"({"b":1,"a":2})"}, {4, "{}"}});
  REQUIRE(rows("\n[\n  {\"a\": \"],}\\\"\"},\n  {\n  \"b\": [1, {}]}\n]\n") ==
          Rows{{3, R"({"a":"],}\""})"}, {4, R"({"b":[1,{}]})"}});
  REQUIRE(rows("[{},{}]") == Rows{{1, "{}"}, {1, "{}"}});
  REQUIRE(rows("[ ]").empty());
  REQUIRE(rows("").empty());
}

TEST_CASE("what is no JSON object is named by its line") {
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"{}\n{\"a\": tru}\n", "d:2: no JSON: at byte 10: syntax error"},
           {"{}\n\n3\n", "d:3: expected an object, found a number"},
           {"{}\n[1]\n", "d:2: expected an object, found a list"},
           {"{\"a\":1,\"a\":2}", "d:1: the name 'a' comes twice"},
           {"[{},\n{\"a\":1,\"a\":2}]", "d:2: the name 'a' comes twice"},
           {"[{},\n 4]", "d:2: expected an object"},
           {"[{},\n{}", "expected ']'"},
           {"[{},\n]", "d:2: no JSON"},
           {"[{}]\n{}", "d:2: expected nothing behind the list"},
           {"{\n\"a\": 1\n}\n", "d:1: one object over several lines"},
           {"{\"a\": 1e999}", "d:1: no JSON"}}) {
    INFO(text << ": " << rows_refusal(text));
    REQUIRE(test::contains(rows_refusal(text), part));
    REQUIRE_FALSE(test::contains(rows_refusal(text), "json.exception.parse_error"));
  }
}
