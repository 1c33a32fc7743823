/// The configuration of a Llama from the keys `llama.*` of a GGUF file. Every key is read, known to
/// change nothing, or refused by name.
///
///     const qlora::LlamaConfig config = qlora::llama_config(gguf);
#pragma once

#include <set>
#include <string>

#include "qlora/core/config.hpp"
#include "qlora/io/gguf.hpp"
#include "qlora/io/gguf_keys.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/model/llama_sizes.hpp"

namespace qlora::inline QLORA_ABI {

namespace model_detail {

/// Throws FormatError where the rotary angles are scaled. As in llama.cpp, a factor without a type
/// is a linear scale.
inline void require_plain_rotary(GgufKeys& keys) {
  constexpr const char* why = ": scaled rotary embeddings are not supported";
  const auto type = keys.text("rope.scaling.type", "linear");
  require<FormatError>(type == "none" || type == "linear", keys.where("rope.scaling.type"), ": ",
                       type, why);
  for (const char* key : {"rope.scaling.factor", "rope.scale_linear"}) {
    const double factor = keys.number(key, 1.0);
    require<FormatError>(type == "none" || factor == 1 || factor == 0, keys.where(key), ": ",
                         factor, why);
  }
  keys.only("rope.scaling.attn_factor", 1.0, why);
  keys.changes_nothing({"rope.scaling.original_context_length", "rope.scaling.finetuned"});
}

}  // namespace model_detail

/// Reads the configuration. Throws a FormatError that names the key for another architecture, for a
/// missing key, for sizes that do not fit together, and for whatever this library's Llama can't
/// compute. Safe to call from several threads.
inline LlamaConfig llama_config(const GgufFile& file) {
  GgufKeys general(file, "general.");
  const auto architecture = general.text("architecture");
  require<FormatError>(architecture == "llama", file.name(),
                       ": general.architecture: expected llama, found ", architecture);
  const auto type = general.text("type", "model");
  require<FormatError>(type == "model", file.name(), ": general.type: expected model, found ",
                       type);
  GgufKeys keys(file, "llama.");
  for (const std::string& key : std::set<std::string>(keys.rest()))
    if (key.starts_with("expert")) keys.only(key, 0.0, ": mixture of experts is not supported");
  LlamaConfig config;
  config.width = keys.size("embedding_length");
  config.hidden = keys.size("feed_forward_length");
  config.layers = keys.size("block_count");
  config.heads = keys.size("attention.head_count");
  config.kv_heads = keys.size("attention.head_count_kv", config.heads);
  config.context = keys.size("context_length");
  config.rope_base = keys.number("rope.freq_base", 10000.0);
  config.norm_epsilon = keys.number("attention.layer_norm_rms_epsilon");
  config.vocabulary = file.tensor("token_embd.weight").rows();
  require_sizes(config, {keys.where("embedding_length"), keys.where("attention.head_count"),
                         keys.where("attention.head_count_kv"), keys.where("rope.freq_base"),
                         keys.where("attention.layer_norm_rms_epsilon")});
  for (const char* key :
       {"rope.dimension_count", "attention.key_length", "attention.value_length"}) {
    const Index width = keys.size(key, config.head_width());
    require<FormatError>(width == config.head_width(), keys.where(key), ": expected ",
                         config.head_width(), ", the width of a head, found ", width);
  }
  model_detail::require_plain_rotary(keys);
  if (keys.find("attention.sliding_window")) {
    const double window = keys.number("attention.sliding_window");
    require<FormatError>(window == 0 || window >= static_cast<double>(config.context),
                         keys.where("attention.sliding_window"),
                         ": expected none or one of at least the context ", config.context,
                         ", found ", window);
  }
  keys.only("attention.causal", true);
  keys.only("use_parallel_residual", false);
  keys.only("pooling_type", 0.0);
  // The embedding's rows count; the order of rows is the same in all files.
  keys.changes_nothing({"vocab_size", "tensor_data_layout"});
  keys.refuse_rest();
  return config;
}

}  // namespace qlora::inline QLORA_ABI
