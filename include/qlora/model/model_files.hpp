/// What stands beside the weights of a Llama: config.json of a folder, the keys of a GGUF file.
///
///     qlora::set_llama_keys(gguf_writer, config, tokenizer_data);
///     nlohmann::json json = qlora::config_json(config, tokenizer_data, true, "float32");
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qlora/io/gguf_writer.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/text/tokenizer_data.hpp"

namespace qlora {

/// config.json as transformers writes it for LlamaForCausalLM.
inline nlohmann::json config_json(const LlamaConfig& config, const TokenizerData& tokenizer,
                                  bool ties_embeddings, const std::string& dtype) {
  nlohmann::json json = {{"architectures", {"LlamaForCausalLM"}},
                         {"model_type", "llama"},
                         {"hidden_act", "silu"},
                         {"hidden_size", config.width},
                         {"intermediate_size", config.hidden},
                         {"num_hidden_layers", config.layers},
                         {"num_attention_heads", config.heads},
                         {"num_key_value_heads", config.kv_heads},
                         {"head_dim", config.head_width()},
                         {"max_position_embeddings", config.context},
                         {"rms_norm_eps", config.norm_epsilon},
                         {"rope_theta", config.rope_base},
                         {"rope_scaling", nullptr},
                         {"vocab_size", config.vocabulary},
                         {"attention_bias", false},
                         {"mlp_bias", false},
                         {"tie_word_embeddings", ties_embeddings},
                         {"torch_dtype", dtype}};
  if (tokenizer.begin) json["bos_token_id"] = *tokenizer.begin;
  if (tokenizer.end) json["eos_token_id"] = *tokenizer.end;
  if (tokenizer.padding) json["pad_token_id"] = *tokenizer.padding;
  return json;
}

/// The keys that llama.cpp and this library need. Throws FormatError for a tokenizer whose splits
/// GGUF has no name for.
inline void set_llama_keys(GgufWriter& file, const LlamaConfig& config,
                           const TokenizerData& tokenizer) {
  const auto number = [&](const std::string& key, Index value) {
    file.set(key, static_cast<std::uint32_t>(value));
  };
  file.set("general.architecture", "llama");
  number("general.quantization_version", 2);
  number("llama.block_count", config.layers);
  number("llama.context_length", config.context);
  number("llama.embedding_length", config.width);
  number("llama.feed_forward_length", config.hidden);
  number("llama.attention.head_count", config.heads);
  number("llama.attention.head_count_kv", config.kv_heads);
  number("llama.rope.dimension_count", config.head_width());
  number("llama.vocab_size", config.vocabulary);
  file.set("llama.rope.freq_base", static_cast<float>(config.rope_base));
  file.set("llama.attention.layer_norm_rms_epsilon", static_cast<float>(config.norm_epsilon));

  const bool digits = tokenizer.splits == std::vector<std::string>{digit_split, gpt2_split};
  require<FormatError>(digits || tokenizer.splits == std::vector<std::string>{gpt2_split},
                       tokenizer.name, ": GGUF has no name for this way to split text");
  std::vector<std::string> merges;
  merges.reserve(tokenizer.merges.size());
  for (const auto& [left, right] : tokenizer.merges) merges.push_back(message(left, " ", right));
  std::vector<std::int32_t> types;
  types.reserve(tokenizer.special.size());
  for (const bool special : tokenizer.special) types.push_back(special ? 3 : 1);
  std::vector<std::string> tokens = tokenizer.tokens;
  for (auto id = tokens.size(); id < static_cast<std::size_t>(config.vocabulary); ++id) {
    tokens.push_back("[unused" + std::to_string(id) +
                     "]");  // rows of the embedding without a token
    types.push_back(5);
  }
  file.set("tokenizer.ggml.model", "gpt2");
  file.set("tokenizer.ggml.pre", digits ? "smollm" : "gpt-2");
  file.set("tokenizer.ggml.tokens", tokens);
  file.set("tokenizer.ggml.token_type", types);
  file.set("tokenizer.ggml.merges", merges);
  file.set("tokenizer.ggml.add_bos_token", false);
  file.set("tokenizer.ggml.add_space_prefix", false);
  const auto id = [&](const char* key, const std::optional<Token>& token) {
    if (token) number(std::string("tokenizer.ggml.") + key, *token);
  };
  id("bos_token_id", tokenizer.begin);
  id("eos_token_id", tokenizer.end);
  id("unknown_token_id", tokenizer.unknown);
  id("padding_token_id", tokenizer.padding);
  if (!tokenizer.chat_template.empty())
    file.set("tokenizer.chat_template", tokenizer.chat_template);
}

}  // namespace qlora
