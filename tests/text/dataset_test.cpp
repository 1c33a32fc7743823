#include "qlora/text/dataset.hpp"

#include "qlora/text/tokenizer_gguf.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/tiny_model.hpp"

namespace {

struct DataFiles {
  test::TemporaryFolder folder;
  qlora::GgufFile file;
  qlora::TokenizerData data = qlora::tokenizer_data(file);
  qlora::Tokenizer tokenizer{data};
  qlora::ChatTemplate chat{data, tokenizer};

  // With `begins`, <|im_start|> stands before every text.
  explicit DataFiles(bool begins = false)
      : file(folder.write("m.gguf", test::TinyModel()
                                        .builder()
                                        .key("tokenizer.ggml.bos_token_id", std::uint32_t{1})
                                        .key("tokenizer.ggml.add_bos_token", begins)
                                        .bytes())) {}
  qlora::Dataset load(const std::string& name, const std::string& text,
                      qlora::Index length = 1000) const {
    return qlora::load_dataset(folder.write(name, text), tokenizer, &chat, length);
  }
  // The text of what counts.
  std::string counted(const qlora::EncodedText& text) const {
    std::vector<qlora::Token> ids;
    for (std::size_t i = 0; i < text.ids.size(); ++i)
      if (text.counted[i] != 0) ids.push_back(text.ids[i]);
    return tokenizer.decode(ids);
  }
  std::string refusal(const std::string& name, const std::string& text,
                      qlora::Index length = 1000) const {
    return test::message_of<qlora::FormatError>([&] { (void)load(name, text, length); });
  }
};

}  // namespace

TEST_CASE("chats and Alpaca's instructions are read from JSON lines, empty lines skipped") {
  const DataFiles m;
  const auto data =
      m.load("d.jsonl",
             R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Yo"}]}

{"instruction":"Add","input":"1 2","output":"3"}
{"instruction":"Say","input":"","output":"x"}
)");
  REQUIRE(data.examples.size() == 3);
  REQUIRE(test::contains(m.tokenizer.decode(data.examples[0].ids), "user\nHi<|im_end|>"));
  REQUIRE(test::contains(m.tokenizer.decode(data.examples[1].ids),
                         "user\nAdd\n\n1 2<|im_end|>\n<|im_start|>assistant\n3<|im_end|>"));
  REQUIRE(test::contains(m.tokenizer.decode(data.examples[2].ids), "user\nSay<|im_end|>"));
}

TEST_CASE("a text is cut into whole consecutive windows of which every token counts") {
  const DataFiles m;
  const auto data = m.load("d.txt", "abcdefghij<|im_end|>k", 5);
  REQUIRE(data.examples.size() == 2);  // 12 tokens, the last two dropped
  REQUIRE(m.tokenizer.decode(data.examples[0].ids) == "abcde");
  REQUIRE(m.tokenizer.decode(data.examples[1].ids) == "fghij");
  for (const auto counts : data.examples[0].counted) REQUIRE(counts == 1);
  REQUIRE(m.load("e.txt", "<|im_end|><|im_end|>", 2).examples[0].ids ==
          std::vector<qlora::Token>{2, 2});
}

TEST_CASE(
    "chats that are too long are cut, and dropped where nothing that counts is left; both are "
    "told") {
  const DataFiles m;
  const std::string chat =
      R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Yoyo"}]})";
  const auto full = m.load("d.jsonl", chat).examples[0].ids.size();
  const auto cut = m.load("d.jsonl", chat, static_cast<qlora::Index>(full) - 3);
  REQUIRE(cut.truncated == 1);
  REQUIRE(cut.examples[0].ids.size() == full - 3);
  REQUIRE(test::contains(m.refusal("d.jsonl", chat, 5), "within 5 tokens"));
}

TEST_CASE("a broken line is named by file and number") {
  const DataFiles m;
  const std::string good = R"({"instruction":"a","output":"b"})"
                           "\n";
  REQUIRE(test::contains(m.refusal("d.jsonl", good + "{\"messages\": [\n"), "d.jsonl:2: "));
  REQUIRE(
      test::contains(m.refusal("d.jsonl", good + good + "[1]\n"), "d.jsonl:3: expected an object"));
  REQUIRE(test::contains(m.refusal("d.jsonl", R"({"messages":[{"role":"user"}]})"), "d.jsonl:1: "));
  REQUIRE(test::contains(
      m.refusal("d.jsonl", good + R"({"messages":[{"role":"user","content":5}]})"), "d.jsonl:2: "));
}

TEST_CASE("texts and completions are trained on between the beginning and the end") {
  const DataFiles m(true);
  const auto text = m.load("d.jsonl", R"({"text":"the <|im_end|> in"})").examples.at(0);
  REQUIRE(m.tokenizer.decode(text.ids) == "<|im_start|>the <|im_end|> in<|im_end|>");
  REQUIRE(m.counted(text) == m.tokenizer.decode(text.ids));
  const auto completion =
      m.load("d.jsonl", R"({"prompt":"the","completion":" in"})").examples.at(0);
  REQUIRE(m.tokenizer.decode(completion.ids) == "<|im_start|>the in<|im_end|>");
  REQUIRE(m.counted(completion) == " in<|im_end|>");
  const auto ended = m.load("d.jsonl", R"({"prompt":"the","completion":"<|im_end|>"})");
  REQUIRE(m.counted(ended.examples.at(0)) == "<|im_end|>");
  // Neither needs a chat template.
  REQUIRE(qlora::load_dataset(m.folder / "d.jsonl", m.tokenizer, nullptr, 50).examples.size() == 1);
}

TEST_CASE("a text of its own begins with the token that the tokenizer puts there") {
  const DataFiles m(true);
  const auto data = m.load("d.txt", "abcdefghi", 5);
  REQUIRE(data.examples.size() == 2);
  REQUIRE(m.tokenizer.decode(data.examples[0].ids) == "<|im_start|>abcd");
}

TEST_CASE("messages that the data say not to train on do not count") {
  const DataFiles m;
  const std::string chat =
      R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"no","weight":0},
      {"role":"user","content":"Hi"},{"role":"assistant","content":"yes","weight":1}]})";
  std::string line = chat;
  std::erase(line, '\n');
  REQUIRE(m.counted(m.load("d.jsonl", line).examples.at(0)) == "yes<|im_end|>");
  const auto both = qlora::load_dataset(m.folder.write("d.jsonl", line), m.tokenizer, &m.chat, 500,
                                        qlora::TrainOn::questions_and_answers);
  REQUIRE(m.counted(both.examples.at(0)) == "Hi<|im_end|>Hi<|im_end|>yes<|im_end|>");
  const auto prompt = m.load("e.jsonl", R"({"prompt":[{"role":"assistant","content":"no"}],)"
                                        R"("completion":[{"role":"assistant","content":"x"}]})");
  REQUIRE(m.counted(prompt.examples.at(0)) == "x<|im_end|>");
}

TEST_CASE("what the template leaves out is refused by name, and other roles are the template's") {
  const DataFiles m;
  const auto refused = [&](const std::string& line) { return m.refusal("d.jsonl", line); };
  const std::string calls = refused(
      R"({"messages":[{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f"}}]}]})");
  REQUIRE(test::contains(calls, "d.jsonl:1: "));
  REQUIRE(test::contains(calls, "message 1: the template does not write its tool_calls"));
  REQUIRE(test::contains(
      refused(R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],)"
              R"("tools":[{"name":"f"}]})"),
      "the template does not write the tools"));
  const auto tool = m.load("d.jsonl", R"({"messages":[{"role":"tool","content":"42"},)"
                                      R"({"role":"assistant","content":"yes"}]})");
  REQUIRE(m.counted(tool.examples.at(0)) == "yes<|im_end|>");
  REQUIRE(test::contains(m.tokenizer.decode(tool.examples.at(0).ids), "tool\n42"));
}

TEST_CASE("chats are read for answering, and nothing but chats") {
  const DataFiles m;
  const auto chats =
      qlora::read_chats(m.folder.write("d.json", R"([{"instruction":"a","output":"b"}])"));
  REQUIRE(chats.at(0).at(0).content == "a");
  REQUIRE(test::contains(test::message_of<qlora::FormatError>([&] {
                           (void)qlora::read_chats(m.folder.write("d.json", R"([{"text":"b"}])"));
                         }),
                         "d.json:1: expected a chat, found a text"));
}

TEST_CASE("windows and examples without a length are refused") {
  const DataFiles m;
  REQUIRE_THROWS_AS(qlora::windows({1, 2, 3}, 0), qlora::FormatError);
  REQUIRE_THROWS_AS(qlora::windows({1, 2, 3}, -1), qlora::FormatError);
  REQUIRE(qlora::windows({1, 2, 3}, 1).size() == 3);
  REQUIRE(qlora::windows({}, 4).empty());
  REQUIRE(test::contains(m.refusal("d.txt", "abc", 0), "at least 2 tokens"));
}

TEST_CASE("empty data is refused") {
  const DataFiles m;
  REQUIRE(test::contains(m.refusal("d.jsonl", ""), "found none"));
  REQUIRE(test::contains(m.refusal("d.txt", "", 5), "expected at least 5 tokens, found 0"));
  REQUIRE_THROWS_AS(qlora::load_dataset(m.folder / "missing.jsonl", m.tokenizer, &m.chat, 5),
                    qlora::IoError);
  REQUIRE_THROWS_AS(qlora::load_dataset(m.folder / "d.jsonl", m.tokenizer, nullptr, 5),
                    qlora::FormatError);
}
