/// Writes what stands beside the weights of a Llama: config.json of a folder, or the keys of a GGUF
/// file.
///
///     qlora::set_llama_keys(gguf_writer, config, tokenizer_data);
///     nlohmann::json json = qlora::config_json(config, tokenizer_data, true, "float32");
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "qlora/core/config.hpp"
#include "qlora/io/gguf_writer.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/text/tokenizer_data.hpp"
#include "qlora/text/tokenizer_gguf.hpp"

namespace qlora::inline QLORA_ABI {

/// config.json as transformers writes it for LlamaForCausalLM. dtype: torch's name for the type of
/// the weights, such as "float32".
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
                         {"rope_theta", config.rotary.base},
                         {"rope_scaling", nullptr},
                         {"vocab_size", config.vocabulary},
                         {"attention_bias", false},
                         {"mlp_bias", false},
                         {"tie_word_embeddings", ties_embeddings},
                         {"torch_dtype", dtype}};
  if (tokenizer.begin) json["bos_token_id"] = *tokenizer.begin;
  if (tokenizer.end) json["eos_token_id"] = *tokenizer.end;
  if (tokenizer.ends.size() > 1) json["eos_token_id"] = tokenizer.ends;
  if (tokenizer.padding) json["pad_token_id"] = *tokenizer.padding;
  return json;
}

/// Sets the keys that llama.cpp and this library need, those of the tokenizer included. Throws
/// FormatError for a tokenizer that GGUF can't describe.
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
  file.set("llama.rope.freq_base", static_cast<float>(config.rotary.base));
  file.set("llama.attention.layer_norm_rms_epsilon", static_cast<float>(config.norm_epsilon));
  set_tokenizer_keys(file, tokenizer, config.vocabulary);
}

}  // namespace qlora::inline QLORA_ABI
