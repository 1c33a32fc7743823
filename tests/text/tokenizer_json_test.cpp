#include "qlora/text/tokenizer_json.hpp"

#include <string>
#include <vector>

#include "qlora/text/tokenizer.hpp"
#include "support/files.hpp"
#include "support/law.hpp"
#include "support/tiny_model.hpp"

namespace {

struct Loaded {
  test::TemporaryFolder folder;
  qlora::TokenizerData data;
  Loaded()
      : data(qlora::tokenizer_data(
            qlora::GgufFile(folder.write("m.gguf", test::TinyModel().bytes())))) {}
};

// A tokenizer.json of three tokens, with one thing changed.
std::string text_with(const std::string& from = "", const std::string& to = "") {
  std::string text =
      R"({"added_tokens":[{"id":2,"content":"<end>","special":true}],"normalizer":null,
    "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},
    "model":{"type":"BPE","vocab":{"a":0,"b":1,"<end>":2},"merges":[]}})";
  if (!from.empty()) text.replace(text.find(from), from.size(), to);
  return text;
}

std::string refusal(const std::string& text) {
  return test::message_of<qlora::FormatError>(
      [&] { qlora::Tokenizer t(qlora::read_tokenizer_json("t.json", text)); });
}

}  // namespace

TEST_CASE("what is written is read as the same tokenizer") {
  const Loaded m;
  qlora::write_tokenizer_folder(m.folder.path(), m.data);
  const auto back = qlora::read_tokenizer_folder(m.folder.path());
  REQUIRE(back.tokens == m.data.tokens);
  REQUIRE(back.special == m.data.special);
  REQUIRE(back.merges == m.data.merges);
  REQUIRE(back.splits == m.data.splits);
  REQUIRE(back.end == m.data.end);
  REQUIRE(back.unknown == m.data.unknown);
  REQUIRE(back.chat_template == m.data.chat_template);
}

TEST_CASE("both tokenizers give the same ids for any text") {
  const Loaded m;
  qlora::write_tokenizer_folder(m.folder.path(), m.data);
  const qlora::Tokenizer a(m.data), b(qlora::read_tokenizer_folder(m.folder.path()));
  test::law("same ids",
            [&](const std::string& text) { RC_ASSERT(a.encode(text) == b.encode(text)); });
}

TEST_CASE("splits by a pattern of the file's own, and merges as pairs") {
  const auto data = qlora::read_tokenizer_json("t.json", R"({"added_tokens":[],
    "pre_tokenizer":{"type":"Sequence","pretokenizers":[
      {"type":"Split","pattern":{"Regex":"a+"},"behavior":"Isolated","invert":false},
      {"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},
    "model":{"vocab":{"a":0,"b":1,"aa":2,"ab":3},"merges":[["a","b"],"a a"]}})");
  REQUIRE(data.splits == std::vector<std::string>{"a+"});
  const qlora::Tokenizer tokenizer(data);
  REQUIRE(tokenizer.encode("aab") == std::vector<qlora::Token>{2, 1});  // "ab" lies across a split
}

TEST_CASE("special tokens may be objects, the template a file of its own") {
  const test::TemporaryFolder folder;
  (void)folder.write("tokenizer.json", text_with());
  (void)folder.write("tokenizer_config.json",
                     R"({"eos_token":{"content":"<end>"},"bos_token":null,"chat_template":"old"})");
  (void)folder.write("chat_template.jinja", "new");
  const auto data = qlora::read_tokenizer_folder(folder.path());
  REQUIRE(data.end == 2);
  REQUIRE(!data.begin);
  REQUIRE(data.chat_template == "new");
}

TEST_CASE("what is not byte-level BPE, or does not fit together, is refused by name") {
  REQUIRE(refusal(text_with()) == "nothing was thrown");
  const auto expect = [](const std::string& text, const std::string& part) {
    const std::string found = refusal(text);
    INFO(found);
    REQUIRE(test::contains(found, part));
    REQUIRE(test::contains(found, "t.json"));
  };
  expect("{", "parse error");
  expect("[]", "model");
  expect(text_with("\"BPE\"", "\"Unigram\""), "expected BPE, found Unigram");
  expect(text_with("\"normalizer\":null", "\"normalizer\":{\"type\":\"NFC\"}"), "normalizer");
  expect(text_with("\"merges\":[]", "\"merges\":[\"ab\"]"), "merge 'ab'");
  expect(text_with("\"merges\":[]", "\"merges\":[[\"a\"]]"), "expected two parts");
  expect(text_with("\"merges\":[]", "\"merges\":[\"a b\"]"), "not in the vocabulary");
  expect(text_with("\"merges\":[]", "\"merges\":[], \"byte_fallback\":true"), "byte_fallback");
  expect(text_with("\"b\":1", "\"b\":7"), "found 7");
  expect(text_with("\"b\":1", "\"b\":-1"), "found -1");
  expect(text_with("\"b\":1", "\"b\":0"), "the id 0 stands for");
  expect(text_with("\"b\":1", "\"b\":\"x\""), "t.json");
  expect(text_with("\"b\":1", "\"b\":1e300"), "t.json");
  expect(text_with("\"b\":1,", ""), "no token has the id 1");
  expect(text_with("\"b\":1", "\"b\":1,\"b\":2"), "comes twice");
  expect(text_with("\"special\":true", "\"lstrip\":true"), "lstrip");
  expect(text_with("\"add_prefix_space\":false", "\"add_prefix_space\":true"), "add_prefix_space");
  expect(text_with("\"type\":\"ByteLevel\"", "\"type\":\"Metaspace\""), "found Metaspace");
  expect(text_with("\"type\":\"ByteLevel\"",
                   R"("type":"Split","pattern":{"Regex":"("},"behavior":"Isolated")"),
         "pattern");
  expect(text_with("\"type\":\"ByteLevel\"",
                   R"("type":"Split","pattern":{"String":"a"},"behavior":"Isolated")"),
         "Isolated of a Regex");
}
