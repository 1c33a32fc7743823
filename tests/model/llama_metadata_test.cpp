#include "qlora/model/llama_metadata.hpp"

#include <string>
#include <vector>

#include "qlora/model/llama_gguf.hpp"
#include "qlora/model/llama_json.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/law.hpp"
#include "support/tiny_model.hpp"

using qlora::Index, qlora::LlamaConfig, qlora::Token;

namespace {

// Sizes that fit together and numbers that are floats.
LlamaConfig any_config() {
  const auto below = [](int end) { return static_cast<Index>(*rc::gen::inRange(1, end)); };
  LlamaConfig config;
  config.kv_heads = below(5);
  config.heads = config.kv_heads * below(4);
  config.width = config.heads * 2 * below(9);
  config.hidden = below(1000);
  config.layers = below(100);
  config.context = below(1 << 20);
  config.vocabulary = 300 + below(100);
  config.rotary.base = static_cast<double>(static_cast<float>(below(1 << 24)) / 3);
  config.norm_epsilon = static_cast<double>(1 / static_cast<float>(below(1 << 20)));
  return config;
}
void require_same(const LlamaConfig& a, const LlamaConfig& b) {
  RC_ASSERT(a.vocabulary == b.vocabulary && a.width == b.width && a.hidden == b.hidden);
  RC_ASSERT(a.layers == b.layers && a.heads == b.heads && a.kv_heads == b.kv_heads);
  RC_ASSERT(a.context == b.context && a.rotary.base == b.rotary.base);
  RC_ASSERT(a.norm_epsilon == b.norm_epsilon);
}

qlora::TokenizerData tokenizer() {
  const test::TemporaryFolder folder;
  return qlora::tokenizer_data(qlora::GgufFile(folder.write("t.gguf", test::TinyModel().bytes())));
}

}  // namespace

TEST_CASE("a configuration comes back from the config.json that is written of it") {
  test::law("config.json", [](bool ties) {
    const LlamaConfig config = any_config();
    const auto text = qlora::config_json(config, {}, ties, "float32").dump();
    const auto back = qlora::read_llama_json("c.json", nlohmann::json::parse(text));
    require_same(back.config, config);
    RC_ASSERT(back.ties_embeddings == ties);
  });
}

TEST_CASE("a configuration comes back from the GGUF keys that are written of it") {
  const qlora::TokenizerData data = tokenizer();
  const test::TemporaryFolder folder;
  test::law("GGUF keys", [&] {
    LlamaConfig config = any_config();
    qlora::GgufWriter file;
    qlora::set_llama_keys(file, config, data);
    file.declare("token_embd.weight", {config.vocabulary, 1}, qlora::GgufTypeId::f32);
    file.open(folder / "m.gguf");
    file.write(std::vector<std::byte>(static_cast<std::size_t>(4 * config.vocabulary)));
    file.commit();
    const qlora::GgufFile read(folder / "m.gguf");
    require_same(qlora::llama_config(read), config);
    // The tokenizer has a place for each row of the embedding.
    RC_ASSERT(static_cast<Index>(qlora::tokenizer_data(read).tokens.size()) == config.vocabulary);
  });
}

TEST_CASE("config.json names the tokens that the tokenizer has, and several that end an answer") {
  const LlamaConfig config{.vocabulary = 9, .width = 4, .hidden = 4, .layers = 1, .heads = 2};
  const auto none = qlora::config_json(config, {}, false, "bfloat16");
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"})
    REQUIRE(!none.contains(key));
  REQUIRE(none.at("torch_dtype") == "bfloat16");
  REQUIRE(none.at("architectures") == nlohmann::json::array({"LlamaForCausalLM"}));
  qlora::TokenizerData data;
  data.begin = 0;
  data.end = 3;
  data.padding = 4;
  data.ends = {3};
  const auto one = qlora::config_json(config, data, false, "float32");
  REQUIRE((one.at("bos_token_id") == 0 && one.at("eos_token_id") == 3));
  REQUIRE(one.at("pad_token_id") == 4);
  data.ends = {3, 7};
  REQUIRE(qlora::config_json(config, data, false, "float32").at("eos_token_id") ==
          nlohmann::json::array({3, 7}));
}
