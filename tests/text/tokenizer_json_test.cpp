#include "qlora/text/tokenizer_json.hpp"

#include <string>
#include <vector>

#include "qlora/text/tokenizer.hpp"
#include "qlora/text/tokenizer_gguf.hpp"
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

std::string json_refusal(const std::string& text) {
  return test::message_of<qlora::FormatError>(
      [&] { qlora::Tokenizer t(qlora::read_tokenizer_json("t.json", text)); });
}

}  // namespace

TEST_CASE("what is written is read as the same tokenizer") {
  const Loaded m;
  qlora::write_tokenizer_folder(m.folder.path(), m.data);
  const auto back = qlora::read_tokenizer_folder(m.folder.path());
  REQUIRE(back.tokens == m.data.tokens);
  REQUIRE(back.added == m.data.added);
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

TEST_CASE("flags of added tokens, kinds, splits and templates are written and read") {
  const Loaded m;
  auto data = m.data;
  data.added = {{.id = 0, .text = data.tokens[0], .special = true, .lstrip = true},
                {.id = 1, .text = data.tokens[1], .special = true, .rstrip = true},
                {.id = 2, .text = data.tokens[2], .special = true, .single_word = true},
                {.id = 7, .text = data.tokens[7], .normalized = true}};
  data.ignore_merges = true;
  data.other_templates = {{"tool_use", "{{ tools }}"}};
  data.splits = {"a+", qlora::gpt2_split, R"(\p{N}+)", qlora::digit_split};
  qlora::write_tokenizer_folder(m.folder.path(), data);
  const auto back = qlora::read_tokenizer_folder(m.folder.path());
  REQUIRE(back.added == data.added);
  REQUIRE(back.ignore_merges);
  REQUIRE(back.chat_template == data.chat_template);
  REQUIRE(back.other_templates == data.other_templates);
  REQUIRE(back.splits == data.splits);
}

TEST_CASE("ids without a token are left out at the end and named in between") {
  const Loaded m;
  auto data = m.data;
  data.tokens[9].clear();
  data.tokens.resize(data.tokens.size() + 5);
  qlora::write_tokenizer_folder(m.folder.path(), data);
  const auto back = qlora::read_tokenizer_folder(m.folder.path());
  REQUIRE(back.tokens.size() == m.data.tokens.size());
  REQUIRE(back.tokens[9] == "[unused9]");
}

namespace {

// A folder with t.json's tokenizer and more files; the tokenizer that is read from it.
qlora::TokenizerData folder_with(const std::vector<std::pair<std::string, std::string>>& files) {
  const test::TemporaryFolder folder;
  (void)folder.write("tokenizer.json", text_with());
  for (const auto& [name, text] : files) (void)folder.write(name, text);
  return qlora::read_tokenizer_folder(folder.path());
}
std::string folder_refusal(const std::string& config) {
  return test::message_of<qlora::FormatError>([&] {
    (void)folder_with({{"tokenizer_config.json", config}});
  });
}

}  // namespace

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
  REQUIRE(json_refusal(text_with()) == "nothing was thrown");
  const auto expect = [](const std::string& text, const std::string& part) {
    const std::string found = json_refusal(text);
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
  expect(text_with("\"add_prefix_space\":false", "\"add_prefix_space\":true"), "add_prefix_space");
  expect(text_with("\"type\":\"ByteLevel\"", "\"type\":\"Metaspace\""),
         "found Metaspace, which is not supported");
  const auto split = [](const std::string& pattern) {
    return text_with(R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":true})",
                     R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":)" + pattern +
                         R"(,"behavior":"Isolated"},{"type":"ByteLevel","use_regex":false}]})");
  };
  REQUIRE(json_refusal(split(R"({"Regex":"a"})")) == "nothing was thrown");
  expect(split(R"({"Regex":"("})"), "pattern '('");
  expect(split(R"({"String":"a"})"),
         "expected the behavior Isolated of a Regex, found Isolated of");
}

TEST_CASE("every key of tokenizer.json is used, known to change no ids, or refused by name") {
  const auto laid_over = [](const std::string& change) {
    auto json = nlohmann::json::parse(text_with());
    json.merge_patch(nlohmann::json::parse(change));
    return json.dump();
  };
  // Harmless, or used.
  for (const char* change :
       {R"({"version":"1.0"})", R"({"truncation":{"max_length":4}})", R"({"padding":{"pad_id":0}})",
        R"({"normalizer":{"type":"Sequence","normalizers":[]}})",
        R"({"pre_tokenizer":{"trim_offsets":true}})", R"({"decoder":{"type":"ByteLevel"}})",
        R"({"decoder":{"type":"Sequence","decoders":[{"type":"ByteLevel"},{"type":"Fuse"}]}})",
        R"({"post_processor":{"type":"ByteLevel","trim_offsets":false}})",
        R"({"model":{"dropout":0.0}})", R"({"model":{"continuing_subword_prefix":""}})",
        R"({"model":{"end_of_word_suffix":""}})", R"({"model":{"fuse_unk":false}})",
        R"({"model":{"byte_fallback":false}})", R"({"model":{"ignore_merges":true}})"}) {
    INFO(change);
    REQUIRE(json_refusal(laid_over(change)) == "nothing was thrown");
  }
  const std::vector<std::pair<std::string, std::string>> refused{
      {R"({"something":1})", "something: this key is not supported"},
      {R"({"normalizer":{"type":"NFC"}})", "normalizer: expected none, found NFC"},
      {R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"Lowercase"}]}})", "Sequence"},
      {R"({"normalizer":{"type":"Prepend"}})", "found Prepend"},
      {R"({"pre_tokenizer":null})", "pre_tokenizer"},
      {R"({"pre_tokenizer":{"type":"Whitespace"}})", "found Whitespace"},
      {R"({"pre_tokenizer":{"type":"Punctuation"}})", "found Punctuation"},
      {R"({"pre_tokenizer":{"add_prefix_space":true}})", "add_prefix_space is not supported"},
      {R"({"pre_tokenizer":{"other":true}})", "other: this key is not supported"},
      {R"({"pre_tokenizer":{"use_regex":1}})", "use_regex: expected true or false, found 1"},
      {R"({"pre_tokenizer":{"type":"Sequence","add_prefix_space":null,"use_regex":null,
           "pretokenizers":[{"type":"Digits"}]}})",
       "expected ByteLevel, found none"},
      {R"({"pre_tokenizer":{"type":"Sequence","add_prefix_space":null,"use_regex":null,
           "pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]}})",
       "expected nothing behind ByteLevel"},
      {R"({"pre_tokenizer":{"type":"Split","add_prefix_space":null,"use_regex":null,
           "pattern":{"Regex":"a"},"behavior":"Removed","invert":false}})",
       "found Removed of a Regex"},
      {R"({"pre_tokenizer":{"type":"Split","add_prefix_space":null,"use_regex":null,
           "pattern":{"Regex":"a"},"behavior":"Isolated","invert":true}})",
       "with invert"},
      {R"({"decoder":{"type":"Metaspace"}})", "decoder: expected ByteLevel, found Metaspace"},
      {R"({"decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"}]}})", "ByteFallback"},
      {R"({"post_processor":{"type":"BertProcessing","sep":["<end>",2],"cls":["<end>",2]}})",
       "found BertProcessing"},
      {R"({"post_processor":{"type":"TemplateProcessing","single":[],"special_tokens":{}}})",
       "expected the text A once"},
      {R"({"post_processor":{"type":"TemplateProcessing","special_tokens":{},
           "single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}]}})",
       "t.json"},
      {R"({"post_processor":{"type":"TemplateProcessing","special_tokens":{"<s>":{"ids":[9]}},
           "single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}]}})",
       "expected an id below 3, found 9"},
      {R"({"model":{"type":"WordPiece"}})", "found WordPiece; only byte-level BPE is supported"},
      {R"({"model":{"dropout":0.1}})", "model.dropout"},
      {R"({"model":{"unk_token":"<end>"}})", "unk_token"},
      {R"({"model":{"byte_fallback":true}})", "byte_fallback"},
      {R"({"model":{"fuse_unk":true}})", "fuse_unk"},
      {R"({"model":{"continuing_subword_prefix":"##"}})", "model.continuing_subword_prefix"},
      {R"({"model":{"end_of_word_suffix":"</w>"}})", "model.end_of_word_suffix"},
      {R"({"model":{"ignore_merges":"yes"}})", "ignore_merges: expected true or false"},
      {R"({"model":{"other":1}})", "model.other: this key is not supported"},
      {R"({"added_tokens":[{"id":2,"content":"<end>","other":true}]})", "other"},
      {R"({"added_tokens":[{"id":2,"content":"<end>"},{"id":2,"content":"<end>"}]})",
       "comes twice"},
      {R"({"added_tokens":[{"id":2,"content":"<end>","lstrip":1}]})", "lstrip: expected true"},
  };
  REQUIRE(refused.size() >= 20);
  for (const auto& [change, part] : refused) {
    const std::string found = json_refusal(laid_over(change));
    INFO(change << "\n" << found);
    REQUIRE(test::contains(found, part));
    REQUIRE(test::contains(found, "t.json"));
    REQUIRE(found.size() < 300);
  }
}

TEST_CASE("named tokens are special whether or not tokenizer.json says so") {
  const auto data = folder_with(
      {{"tokenizer_config.json", R"({"eos_token":"b","additional_special_tokens":["<end>"]})"}});
  REQUIRE(data.end == 1);
  REQUIRE(data.is_special(1));
  REQUIRE(data.is_special(2));
  REQUIRE_FALSE(data.is_special(0));
  REQUIRE(test::contains(folder_refusal(R"({"eos_token":"<none>"})"),
                         "eos_token: '<none>' is not a token"));
  REQUIRE(test::contains(folder_refusal(R"({"additional_special_tokens":["<none>"]})"), "<none>"));
  REQUIRE(test::contains(folder_refusal(R"({"eos_token":3})"), "eos_token: expected the text"));
  REQUIRE(folder_with({{"special_tokens_map.json", R"({"eos_token":"<end>"})"}}).end == 2);
  REQUIRE(folder_with({{"special_tokens_map.json", R"({"eos_token":"<end>"})"},
                       {"tokenizer_config.json", R"({"eos_token":"b"})"}})
              .end == 1);
}

TEST_CASE("added tokens of tokenizer_config.json count too") {
  const auto data = folder_with({{"tokenizer_config.json", R"({"added_tokens_decoder":{
    "0":{"content":"a","special":false,"lstrip":true},"3":{"content":"<new>","special":true}}})"}});
  REQUIRE(data.tokens.size() == 4);
  REQUIRE(data.find_added(0)->lstrip);
  REQUIRE_FALSE(data.is_special(0));
  REQUIRE(data.is_special(3));
  const qlora::Tokenizer tokenizer(data);
  REQUIRE(tokenizer.encode("b a<new>") == std::vector<qlora::Token>{1, 0, 3});
  REQUIRE(test::contains(folder_refusal(R"({"added_tokens_decoder":{"5":{"content":"x"}}})"),
                         "expected an id of at most 3"));
  REQUIRE(test::contains(folder_refusal(R"({"added_tokens_decoder":{"1":{"content":"x"}}})"),
                         "expected 'b' as in tokenizer.json, found 'x'"));
  REQUIRE(test::contains(folder_refusal(R"({"added_tokens_decoder":{"x":{"content":"x"}}})"),
                         "expected an id"));
}

TEST_CASE("flags of tokenizer_config.json say what stands around a text, else the post-processor") {
  const std::string around =
      text_with("\"normalizer\":null",
                R"("post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel"},
        {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<end>","type_id":0}},
        {"Sequence":{"id":"A","type_id":0}}],"pair":[],
        "special_tokens":{"<end>":{"id":"<end>","ids":[2],"tokens":["<end>"]}}}]})");
  const auto with = [&](const std::string& config) {
    return folder_with({{"tokenizer.json", around}, {"tokenizer_config.json", config}});
  };
  using Ids = std::vector<qlora::Token>;
  REQUIRE(with("{}").before == Ids{2});
  REQUIRE(with("{}").after.empty());
  const auto off = with(R"({"add_bos_token":false})");
  REQUIRE(off.before.empty());
  REQUIRE(off.warnings.size() == 1);
  const auto on = with(R"({"add_bos_token":true,"add_eos_token":true,"bos_token":"<end>",
                           "eos_token":"b"})");
  REQUIRE(on.before == Ids{2});
  REQUIRE(on.after == Ids{1});
  REQUIRE(test::contains(folder_refusal(R"({"add_bos_token":true})"),
                         "expected a bos_token, found none"));
  REQUIRE(test::contains(folder_refusal(R"({"add_bos_token":"yes"})"), "add_bos_token"));
  REQUIRE(test::contains(folder_refusal(R"({"add_prefix_space":true})"), "add_prefix_space"));
  REQUIRE(test::contains(folder_refusal(R"({"split_special_tokens":true})"), "split_special"));
}

TEST_CASE("ids that end an answer are those of generation_config.json, else of config.json") {
  using Ids = std::vector<qlora::Token>;
  const std::pair<std::string, std::string> config{"tokenizer_config.json",
                                                   R"({"eos_token":"<end>"})"};
  REQUIRE(folder_with({config}).ends == Ids{2});
  REQUIRE(folder_with({config, {"config.json", R"({"eos_token_id":1})"}}).ends == Ids{2, 1});
  REQUIRE(folder_with({config,
                       {"config.json", R"({"eos_token_id":1})"},
                       {"generation_config.json", R"({"eos_token_id":[0,2,7]})"}})
              .ends == Ids{2, 0, 7});
  REQUIRE(folder_with({config,
                       {"config.json", R"({"eos_token_id":1})"},
                       {"generation_config.json", R"({"eos_token_id":null})"}})
              .ends == Ids{2, 1});
  REQUIRE(test::contains(test::message_of<qlora::FormatError>([&] {
                           (void)folder_with({{"config.json", R"({"eos_token_id":-1})"}});
                         }),
                         "config.json: eos_token_id"));
}

TEST_CASE("of a list of chat templates the one named default counts") {
  const auto data = folder_with({{"tokenizer_config.json", R"({"chat_template":[
    {"name":"tool_use","template":"t"},{"name":"default","template":"d"}]})"}});
  REQUIRE(data.chat_template == "d");
  REQUIRE(data.other_templates ==
          std::vector<std::pair<std::string, std::string>>{{"tool_use", "t"}});
  REQUIRE(test::contains(folder_refusal(R"({"chat_template":3})"), "chat_template: expected"));
  REQUIRE(test::contains(folder_refusal(R"({"chat_template":[{"name":"x"}]})"),
                         "tokenizer_config.json"));
}

TEST_CASE("a folder with a SentencePiece model alone is refused by name") {
  const test::TemporaryFolder folder;
  (void)folder.write("tokenizer.model", "x");
  const auto text = test::message_of<qlora::FormatError>(
      [&] { (void)qlora::read_tokenizer_folder(folder.path()); });
  REQUIRE(test::contains(text, "tokenizer.model: SentencePiece is not supported yet"));
}
