#include "qlora/text/dataset.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/tiny_model.hpp"

namespace {

struct Loaded {
  test::TemporaryFolder folder;
  qlora::GgufFile file{folder.write("m.gguf", test::TinyModel().bytes())};
  qlora::TokenizerData data = qlora::tokenizer_data(file);
  qlora::Tokenizer tokenizer{data};
  qlora::ChatTemplate chat{data, tokenizer};

  qlora::Dataset load(const std::string& name, const std::string& text,
                      qlora::Index length = 1000) const {
    return qlora::load_dataset(folder.write(name, text), tokenizer, &chat, length);
  }
  std::string refusal(const std::string& name, const std::string& text,
                      qlora::Index length = 1000) const {
    return test::message_of<qlora::FormatError>([&] { (void)load(name, text, length); });
  }
};

}  // namespace

TEST_CASE("chats and Alpaca's instructions are read from JSON lines, empty lines skipped") {
  const Loaded m;
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
  const Loaded m;
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
  const Loaded m;
  const std::string chat =
      R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Yoyo"}]})";
  const auto full = m.load("d.jsonl", chat).examples[0].ids.size();
  const auto cut = m.load("d.jsonl", chat, static_cast<qlora::Index>(full) - 3);
  REQUIRE(cut.truncated == 1);
  REQUIRE(cut.examples[0].ids.size() == full - 3);
  REQUIRE(test::contains(m.refusal("d.jsonl", chat, 5), "within 5 tokens"));
}

TEST_CASE("a broken line is named by file and number") {
  const Loaded m;
  const std::string good = R"({"instruction":"a","output":"b"})"
                           "\n";
  REQUIRE(test::contains(m.refusal("d.jsonl", good + "{\"messages\": [\n"), "d.jsonl:2: "));
  REQUIRE(
      test::contains(m.refusal("d.jsonl", good + good + "[1]\n"), "d.jsonl:3: expected an object"));
  REQUIRE(test::contains(m.refusal("d.jsonl", R"({"messages":[{"role":"robot","content":"x"}]})"),
                         "found 'robot'"));
  REQUIRE(test::contains(m.refusal("d.jsonl", R"({"messages":[{"role":"user"}]})"), "d.jsonl:1: "));
  REQUIRE(test::contains(m.refusal("d.jsonl", R"({"messages":[]})"), "at least one"));
  REQUIRE(test::contains(m.refusal("d.jsonl", R"({"text":"x"})"), "expected 'messages'"));
  REQUIRE(test::contains(m.refusal("d.jsonl", R"({"instruction":1,"output":"x"})"), "d.jsonl:1: "));
}

TEST_CASE("empty data is refused") {
  const Loaded m;
  REQUIRE(test::contains(m.refusal("d.jsonl", ""), "found none"));
  REQUIRE(test::contains(m.refusal("d.txt", "", 5), "expected at least 5 tokens, found 0"));
  REQUIRE_THROWS_AS(qlora::load_dataset(m.folder / "missing.jsonl", m.tokenizer, &m.chat, 5),
                    qlora::IoError);
  REQUIRE_THROWS_AS(qlora::load_dataset(m.folder / "d.jsonl", m.tokenizer, nullptr, 5),
                    qlora::FormatError);
}
