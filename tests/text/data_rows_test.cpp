#include "qlora/text/data_rows.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

namespace {

using qlora::RowKind;

// The row of an object, which may go over several lines.
qlora::DataRow row(const std::string& object) {
  return qlora::rows_of_text("d", "[" + object + "]").at(0);
}

// role:content of each message, - before those that are not trained on.
std::string chat(const std::string& line) {
  const auto read = row(line);
  REQUIRE(read.kind == RowKind::chat);
  REQUIRE(read.trains.size() == read.messages.size());
  std::string all;
  for (std::size_t i = 0; i < read.messages.size(); ++i) {
    const auto& each = read.messages[i];
    all += (all.empty() ? "" : " ") + std::string(read.trains[i] ? "" : "-") +
           each["role"].get<std::string>() + ":" +
           (each["content"].is_null() ? "null" : each["content"].get<std::string>());
  }
  return all;
}

std::string row_refusal(const std::string& text) {
  return test::message_of<qlora::FormatError>([&] { (void)qlora::rows_of_text("d", text); });
}

}  // namespace

TEST_CASE("chats are read as messages, as conversations and as instructions") {
  REQUIRE(
      chat(R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]})") ==
      "user:a assistant:b");
  REQUIRE(chat(R"({"id":"x1","conversations":[{"from":"system","value":"s"},
    {"from":"human","value":"a"},{"from":"gpt","value":"b"},{"from":"observation","value":"t"}]})") ==
          "system:s user:a assistant:b tool:t");
  REQUIRE(chat(R"({"conversations":[{"role":"user","content":"a"}],"system":"s"})") ==
          "system:s user:a");
  REQUIRE(chat(R"({"instruction":"a","input":"i","output":"b"})") == "user:a\n\ni assistant:b");
  REQUIRE(chat(R"({"instruction":"a","input":null,"output":"b"})") == "user:a assistant:b");
  REQUIRE(chat(R"({"instruction":"a","output":"b"})") == "user:a assistant:b");
  REQUIRE(
      chat(R"({"instruction":"a","output":"b","system":"s","history":[["c","d"],["e","f"]]})") ==
      "system:s user:c assistant:d user:e assistant:f user:a assistant:b");
  REQUIRE(chat(R"({"instruction":"a","output":"b","system":"","history":[],"category":"x"})") ==
          "user:a assistant:b");
}

TEST_CASE("what stands twice in well-known data is taken once") {
  REQUIRE(chat(R"({"instruction":"a","output":"b","text":"Below: a ### b"})") ==
          "user:a assistant:b");
  REQUIRE(
      test::contains(row_refusal(R"({"instruction":"a","output":"b","text":"other"})"), "text: "));
  REQUIRE(chat(R"({"prompt":"a","messages":[{"role":"system","content":"s"},
    {"role":"user","content":"a"}]})") == "system:s user:a");
  REQUIRE(
      test::contains(row_refusal(R"({"prompt":"x","messages":[{"role":"user","content":"a"}]})"),
                     "prompt: expected the first question of messages"));
}

TEST_CASE("prompts and completions are texts or messages; texts are texts") {
  const auto read = row(R"({"prompt":"a","completion":" b"})");
  REQUIRE(read.kind == RowKind::completion);
  REQUIRE(read.prompt == "a");
  REQUIRE(read.text == " b");
  REQUIRE(chat(R"({"prompt":[{"role":"user","content":"a"},{"role":"assistant","content":"x"}],
    "completion":[{"role":"assistant","content":"b"}]})") == "-user:a -assistant:x assistant:b");
  const auto text = row(R"({"text":"### Human: a","source":"oasst"})");
  REQUIRE(text.kind == RowKind::text);
  REQUIRE(text.text == "### Human: a");
}

TEST_CASE("a content may be a list of text parts, or null beside calls of tools") {
  REQUIRE(chat(R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},
    {"type":"text","text":"b"}]}]})") == "user:ab");
  const auto calls = row(R"({"tools":[{"type":"function"}],"messages":[
    {"role":"assistant","content":null,"tool_calls":[{"z":1,"a":2}]},
    {"role":"tool","content":"42","tool_call_id":"c1","name":"f"}]})");
  REQUIRE(calls.tools.dump() == R"([{"type":"function"}])");
  REQUIRE(calls.messages.dump() ==
          R"([{"role":"assistant","content":null,"tool_calls":[{"z":1,"a":2}]},)"
          R"({"role":"tool","content":"42","tool_call_id":"c1","name":"f"}])");
  REQUIRE(row(R"({"tools":[],"messages":[{"role":"user","content":"a"}]})").tools.is_null());
}

TEST_CASE("messages may say whether they are trained on") {
  REQUIRE(chat(R"({"messages":[{"role":"assistant","content":"a","weight":0},
    {"role":"assistant","content":"b","weight":1},{"role":"assistant","content":"c","train":false},
    {"role":"assistant","content":"d","train":true}]})") ==
          "-assistant:a assistant:b -assistant:c assistant:d");
  REQUIRE(test::contains(
      row_refusal(R"({"messages":[{"role":"assistant","content":"a","weight":0.5}]})"),
      "messages[0].weight: expected 0 or 1, found 0.5"));
}

TEST_CASE("what is not understood is refused with file, line and field") {
  const auto message = [](const std::string& inner) { return R"({"messages":[)" + inner + "]}"; };
  for (const auto& [line, part] : std::vector<std::pair<std::string, std::string>>{
           {"{}", "d:1: expected 'messages'"},
           {R"({"question":"a","answer":"b"})", "found question, answer"},
           {R"({"prompt":"a"})", "found prompt"},
           {R"({"prompt":"a","chosen":"b","rejected":"c"})", "found prompt, chosen, rejected"},
           {R"({"messages":[],"conversations":[]})", "expected one of messages"},
           {R"({"messages":[]})", "messages: expected at least one message, found none"},
           {R"({"messages":"[]"})", "messages: expected a list of messages, found a text"},
           {R"({"messages":{}})", "found an object"},
           {message("3"), "messages[0]: expected an object, found a number"},
           {message(R"({"content":"a"})"), "messages[0].role: expected a text, found no such key"},
           {message(R"({"role":3,"content":"a"})"), "messages[0].role: expected a text"},
           {message(R"({"role":"robot","content":"a"})"), "found 'robot'"},
           {message(R"({"role":"user"})"), "messages[0].content: expected a text, found no such"},
           {message(R"({"role":"user","content":3})"), "expected a text, found a number"},
           {message(R"({"role":"user","content":true})"), "expected a text, found true or false"},
           {message(R"({"role":"user","content":null})"), "expected a text, found null"},
           {message(R"({"role":"user","content":{"a":1}})"), "expected a text, found an object"},
           {message(R"({"role":"user","content":["a"]})"),
            "messages[0].content[0]: expected an object, found a text"},
           {message(R"({"role":"user","content":[{"type":"image_url","image_url":""}]})"),
            "messages[0].content[0].type: expected text, found 'image_url'"},
           {message(R"({"role":"user","content":"a","row_refusal":"no"})"),
            "messages[0].row_refusal"},
           {R"({"conversations":[{"from":"robot","value":"a"}]})", "found 'robot'"},
           {R"({"conversations":[{"from":"function_call","value":"{}"}]})", "'function_call'"},
           {R"({"conversations":[{"from":"gpt","value":["a"]}]})", "conversations[0].value[0]"},
           {R"({"conversations":["a","b"]})", "conversations[0]: expected an object"},
           {R"({"messages":[{"role":"user","content":"a"}],"weight":0.2})", "weight: this key"},
           {R"({"messages":[{"role":"user","content":"a"}],"functions":[]})",
            "functions: this key"},
           {R"({"messages":[{"role":"user","content":"a"}],"tools":"x"})",
            "tools: expected a list"},
           {R"({"messages":[{"role":"system","content":"a"}],"system":"x"})",
            "system: expected one"},
           {R"({"instruction":"a"})", "output: expected a text, found no such key"},
           {R"({"instruction":1,"output":"b"})", "instruction: expected a text, found a number"},
           {R"({"instruction":"a","output":"b","input":1})", "input: expected a text"},
           {R"({"instruction":"a","output":"b","response":"c"})", "response: this key"},
           {R"({"instruction":"a","output":"b","history":"c"})", "history: expected a list"},
           {R"({"instruction":"a","output":"b","history":[["c"]]})", "history[0]: expected a pair"},
           {R"({"instruction":"a","output":"b","history":[["c",1]]})", "history[0][1]: expected"},
           {R"({"prompt":"a","completion":["b"]})", "prompt: expected a list of messages"},
           {R"({"prompt":"a","completion":3})", "completion: expected a text, found a number"},
           {R"({"prompt":"a","completion":"b","label":true})", "label: this key"},
           {R"({"text":"a","labels":"b"})", "labels: this key"},
           {R"({"text":["a"]})", "text: expected a text, found a list"}}) {
    INFO(line << ": " << row_refusal(line));
    REQUIRE(test::contains(row_refusal(line), part));
    REQUIRE(row_refusal(line).starts_with("d:1: "));
    REQUIRE_FALSE(test::contains(row_refusal(line), "json.exception"));
  }
}

TEST_CASE("a file holds one kind of rows; both lines are named otherwise") {
  const std::string text = R"({"text":"a"})"
                           "\n\n"
                           R"({"prompt":"a","completion":"b"})"
                           "\n";
  REQUIRE(test::contains(row_refusal(text),
                         "d:3: expected a text as in line 1, found a prompt with its completion"));
  REQUIRE(row_refusal("{\"instruction\":\"a\",\"output\":\"b\"}\n"
                      R"({"messages":[{"role":"user","content":"a"}]})") == "nothing was thrown");
}

TEST_CASE("a plain text is one row") {
  const test::TemporaryFolder folder;
  const auto rows = qlora::read_rows(folder.write("a.txt", "some {text}"));
  REQUIRE(rows.size() == 1);
  REQUIRE(rows[0].kind == RowKind::text);
  REQUIRE(rows[0].text == "some {text}");
  REQUIRE(qlora::read_rows(folder.write("b", "{\"text\":\"x\"}\n{\"text\":\"y\"}")).size() == 2);
}
