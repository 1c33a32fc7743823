#include "qlora/text/tokenizer_gguf.hpp"

#include <functional>

#include "qlora/text/tokenizer.hpp"
#include "qlora/text/tokenizer_json.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/tiny_model.hpp"

namespace {

using test::GgufBuilder;

// The tokenizer of a tiny model with more keys.
qlora::TokenizerData read(const test::TinyModel& model,
                          const std::function<void(GgufBuilder&)>& more = {}) {
  const test::TemporaryFolder folder;
  GgufBuilder builder = model.builder();
  if (more) more(builder);
  return qlora::tokenizer_data(qlora::GgufFile(folder.write("m.gguf", builder.bytes())));
}

std::string gguf_refusal(const test::TinyModel& model,
                         const std::function<void(GgufBuilder&)>& more = {}) {
  return test::message_of<qlora::FormatError>(
      [&] { qlora::Tokenizer tokenizer(read(model, more)); });
}

// What is read of what was written.
qlora::TokenizerData written(const qlora::TokenizerData& data, qlora::Index vocabulary) {
  const test::TemporaryFolder folder;
  qlora::GgufWriter file;
  qlora::set_tokenizer_keys(file, data, vocabulary);
  file.open(folder / "m.gguf");
  file.commit();
  return qlora::tokenizer_data(qlora::GgufFile(folder / "m.gguf"));
}

qlora::Index size(const qlora::TokenizerData& data) {
  return static_cast<qlora::Index>(data.tokens.size());
}

}  // namespace

TEST_CASE("tokenizers that are not understood are refused by the key") {
  test::TinyModel model;
  model.model = "llama";
  REQUIRE(test::contains(gguf_refusal(model), "tokenizer.ggml.model: expected gpt2"));
  REQUIRE(test::contains(gguf_refusal(model), "SentencePiece"));
  model = {};
  model.pre = "deepseek-llm";
  REQUIRE(test::contains(gguf_refusal(model), "tokenizer.ggml.pre: expected one of gpt-2, smollm"));
  REQUIRE(test::contains(gguf_refusal(model), "found deepseek-llm"));
  model = {};
  model.types.pop_back();
  REQUIRE(test::contains(gguf_refusal(model), "token types"));
  model = {};
  model.types[5] = 6;
  REQUIRE(test::contains(gguf_refusal(model), "the type 6 of token 5"));
  model = {};
  model.merges.push_back("zq zq");
  REQUIRE(test::contains(gguf_refusal(model), "merge 'zq zq'"));
  model = {};
  model.tokens[0] = "\xff";
  REQUIRE(test::contains(gguf_refusal(model), "added token 0: expected valid UTF-8"));
  const auto key = [](const char* name, auto value) {
    return [=](GgufBuilder& builder) { builder.key(std::string("tokenizer.ggml.") + name, value); };
  };
  REQUIRE(test::contains(gguf_refusal({}, key("add_space_prefix", true)), "add_space_prefix"));
  REQUIRE(test::contains(gguf_refusal({}, key("bos_token_id", std::uint32_t{99999})),
                         "tokenizer.ggml.bos_token_id: expected an id below"));
  REQUIRE(
      test::contains(gguf_refusal({}, key("eot_token_id", std::uint32_t{99999})), "eot_token_id"));
  REQUIRE(test::contains(gguf_refusal({}, key("add_bos_token", true)), "bos_token_id"));
}

TEST_CASE("a file that does not name its split is split by llama.cpp's default, with a warning") {
  test::TinyModel model;
  REQUIRE(read(model).warnings.empty());
  model.pre = "";
  const auto data = read(model);
  REQUIRE(data.splits == qlora::find_split("default")->splits);
  REQUIRE(data.warnings.size() == 1);
  REQUIRE(test::contains(data.warnings[0], "tokenizer.ggml.pre is missing"));
}

TEST_CASE("what stands before a text comes from the file's flags, or else from its split") {
  REQUIRE(read({}).before.empty());
  const auto begin = [](GgufBuilder& builder) {
    builder.key("tokenizer.ggml.bos_token_id", std::uint32_t{1});
  };
  REQUIRE(read({}, begin).before.empty());
  const auto flagged = read({}, [&](GgufBuilder& builder) {
    begin(builder);
    builder.key("tokenizer.ggml.add_bos_token", true).key("tokenizer.ggml.add_eos_token", true);
  });
  REQUIRE(qlora::Tokenizer(flagged).encode_document("") == std::vector<qlora::Token>{1, 2});
  test::TinyModel llama3;
  llama3.pre = "llama-bpe";
  REQUIRE(read(llama3, begin).before == std::vector<qlora::Token>{1});
  REQUIRE(read(llama3, [&](GgufBuilder& builder) {
            begin(builder);
            builder.key("tokenizer.ggml.add_bos_token", false);
          }).before.empty());
}

TEST_CASE("tokens are special, added, unused or normal by their type") {
  test::TinyModel model;
  model.types[7] = 4;
  model.types[8] = 2;
  model.types[9] = 5;
  const auto data = read(model);
  REQUIRE(data.find_added(7) != nullptr);
  REQUIRE_FALSE(data.is_special(7));
  REQUIRE(data.is_special(8));
  REQUIRE(data.find_added(9) == nullptr);
  REQUIRE(data.tokens[9].empty());
  REQUIRE(data.find_added(10) == nullptr);
}

TEST_CASE("control-looking tokens are control tokens whatever their type, with a warning") {
  test::TinyModel model;
  for (const std::size_t id : {1u, 2u}) model.types[id] = 1;
  model.tokens.push_back("<|a|>");  // made by a merge: a word like any other
  model.types.push_back(1);
  model.tokens.push_back("<|a");
  model.types.push_back(1);
  model.tokens.push_back("<|");
  model.types.push_back(1);
  model.tokens.push_back("|>");
  model.types.push_back(1);
  for (const char* merge : {"< |", "| >", "<| a", "<|a |>"}) model.merges.push_back(merge);
  const auto data = read(model);
  REQUIRE(data.is_special(1));
  REQUIRE(data.is_special(2));
  REQUIRE_FALSE(data.is_special(static_cast<qlora::Token>(size(data) - 4)));
  REQUIRE(data.warnings.size() == 2);
  REQUIRE(test::contains(data.warnings[0], "'<|im_start|>'"));
}

TEST_CASE("without types every token is normal but those that look like control tokens") {
  test::TinyModel model;
  model.types.clear();
  const auto data = read(model);
  REQUIRE(data.is_special(2));
  REQUIRE(data.added.size() == 3);
  REQUIRE(data.warnings.empty());
}

TEST_CASE("ids that end an answer are those of the keys and those that llama.cpp knows by text") {
  const auto data = read({}, [](GgufBuilder& builder) {
    builder.key("tokenizer.ggml.eom_token_id", std::uint32_t{7});
  });
  REQUIRE(data.ends == std::vector<qlora::Token>{2, 7, 0});
  const qlora::Tokenizer tokenizer(data);
  REQUIRE(tokenizer.is_end(7));
  REQUIRE_FALSE(tokenizer.is_end(1));
}

TEST_CASE("what is written into a GGUF file is read as the same tokenizer") {
  auto data = read({}, [](GgufBuilder& builder) {
    builder.key("tokenizer.ggml.bos_token_id", std::uint32_t{1})
        .key("tokenizer.ggml.add_bos_token", true)
        .key("tokenizer.ggml.eom_token_id", std::uint32_t{7})
        .key("tokenizer.chat_template.tool_use", "{{ tools }}");
  });
  data.added.insert(data.added.begin() + 3, {.id = 5, .text = data.tokens[5]});
  data.tokens[9].clear();
  const auto back = written(data, size(data) + 3);
  REQUIRE(size(back) == size(data) + 3);
  for (qlora::Index i = 0; i < size(back); ++i)
    REQUIRE(back.tokens[static_cast<std::size_t>(i)] ==
            (i < size(data) ? data.tokens[static_cast<std::size_t>(i)] : ""));
  REQUIRE(back.added == data.added);
  REQUIRE(back.merges == data.merges);
  REQUIRE(back.splits == data.splits);
  REQUIRE(back.before == data.before);
  REQUIRE(back.after == data.after);
  REQUIRE(back.ends == data.ends);
  REQUIRE(back.other_templates == data.other_templates);
  for (const auto& split : qlora::named_splits()) {
    data.splits = split.splits;
    data.ignore_merges = split.ignore_merges;
    REQUIRE(written(data, size(data)).splits == split.splits);
    REQUIRE(written(data, size(data)).ignore_merges == split.ignore_merges);
  }
}

TEST_CASE("a folder made of a GGUF file puts the same tokens before a text, and back") {
  const auto data = read({}, [](GgufBuilder& builder) {
    builder.key("tokenizer.ggml.bos_token_id", std::uint32_t{1})
        .key("tokenizer.ggml.add_bos_token", true)
        .key("tokenizer.ggml.add_eos_token", true);
  });
  const test::TemporaryFolder folder;
  qlora::write_tokenizer_folder(folder.path(), data);
  const auto back = qlora::read_tokenizer_folder(folder.path());
  REQUIRE(back.before == std::vector<qlora::Token>{1});
  REQUIRE(back.after == std::vector<qlora::Token>{2});
  REQUIRE(back.warnings.empty());
  REQUIRE(written(back, size(back)).before == std::vector<qlora::Token>{1});
}

TEST_CASE("what GGUF has no words for is refused") {
  const auto data = read({});
  const auto refused = [&](auto change, qlora::Index more = 0) {
    auto other = data;
    change(other);
    return test::message_of<qlora::FormatError>([&] { (void)written(other, size(data) + more); });
  };
  const auto same = [](qlora::TokenizerData&) {};
  REQUIRE(refused(same) == "nothing was thrown");
  REQUIRE(test::contains(refused(same, -1), "a row of the embedding for each token"));
  REQUIRE(test::contains(refused([](auto& d) { d.splits = {"a+"}; }), "way to split"));
  REQUIRE(test::contains(refused([](auto& d) { d.ignore_merges = true; }), "way to split"));
  REQUIRE(test::contains(refused([](auto& d) { d.before = {5}; }), "before a text"));
  REQUIRE(test::contains(refused([](auto& d) { d.after = {2, 2}; }), "after a text"));
  REQUIRE(test::contains(refused([](auto& d) { d.added[0].lstrip = true; }), "lstrip"));
  REQUIRE(test::contains(refused([](auto& d) { d.ends = {2, 5, 6, 7}; }), "end an answer"));
}
