/// The configuration of a decoder from the keys of its architecture in a GGUF file, `llama.*` and
/// others. Every key is read, known to
/// change nothing, or refused by name.
///
///     const qlora::LlamaConfig config = qlora::llama_config(gguf);
#pragma once

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/io/gguf.hpp"
#include "qlora/io/gguf_keys.hpp"
#include "qlora/model/llama_names.hpp"
#include "qlora/model/llama_sizes.hpp"

namespace qlora::inline QLORA_ABI {

namespace model_detail {

/// Reads how the rotary angles are scaled. As in llama.cpp, a factor without a type is a linear
/// scale. Llama 3's scaling comes as a tensor of divisors.
inline Rotary read_rotary_keys(GgufKeys& keys, const GgufFile& file, double base,
                               Index head_width) {
  Rotary rotary{.base = base};
  const Index turned = keys.size("rope.dimension_count", head_width);
  require<FormatError>(turned == head_width, keys.where("rope.dimension_count"), ": expected ",
                       head_width, ", the width of a head, found ", turned);
  const auto type = keys.text("rope.scaling.type", "linear");
  require<FormatError>(type == "none" || type == "linear" || type == "yarn",
                       keys.where("rope.scaling.type"), ": ", type,
                       " is not supported: expected none, linear or yarn");
  const double own = keys.number("rope.scaling.factor", 0.0),
               old = keys.number("rope.scale_linear", 0.0);
  const double factor = own != 0 ? own : old != 0 ? old : 1.0;
  const double attention_factor = keys.number("rope.scaling.attn_factor", 1.0);
  if (type != "none" && factor != 1) {
    rotary.scaling = type == "yarn" ? RotaryScaling::yarn : RotaryScaling::linear;
    rotary.factor = checked_positive(factor, keys.where("rope.scaling.factor"));
  }
  if (rotary.scaling == RotaryScaling::yarn) {
    rotary.original_context = keys.size("rope.scaling.original_context_length");
    rotary.beta_fast = keys.number("rope.scaling.yarn_beta_fast", 32.0);
    rotary.beta_slow = keys.number("rope.scaling.yarn_beta_slow", 1.0);
    rotary.magnitude = attention_factor * yarn_magnitude(rotary.factor);
    keys.only("rope.scaling.yarn_ext_factor", 1.0);
    keys.only("rope.scaling.yarn_attn_factor", 1.0);
    keys.only("rope.scaling.yarn_log_multiplier", 0.0);
  } else {
    require<FormatError>(attention_factor == 1, keys.where("rope.scaling.attn_factor"),
                         ": expected 1, found ", attention_factor);
    keys.changes_nothing({"rope.scaling.original_context_length"});
  }
  if (const std::string name(rotary_divisors_name); file.has(name)) {
    const RowMatrixXf divisors = file.dense(name);
    for (Index i = 0; i < divisors.size(); ++i)
      rotary.divisors.push_back(checked_positive(static_cast<double>(divisors.data()[i]),
                                                 file.name() + ": tensor '" + name + "'"));
    require<FormatError>(2 * divisors.size() == turned, file.name(), ": tensor '", name,
                         "': expected ", turned / 2, " numbers, one a pair, found ",
                         divisors.size());
  }
  return rotary;
}

/// Reads which layers see a window only, and what llama.cpp has in its code and not in the file.
inline void read_layer_keys(GgufKeys& keys, LlamaConfig& config, const Family& family) {
  // Granite's files say by this key whether there is rotary embedding at all.
  if (family.scales_by_multipliers) keys.only("rope.scaling.finetuned", true);
  keys.changes_nothing({"rope.scaling.finetuned"});
  const bool by_rule = family.windows == WindowRule::all_but_each;
  const double given = keys.number(
      "attention.sliding_window",
      family.architecture == "gemma2" ? static_cast<double>(family.default_window) : 0.0);
  require<FormatError>(given >= 0, keys.where("attention.sliding_window"),
                       ": expected a size, found ", given);
  const bool has_window = given > 0 && given < static_cast<double>(config.context);
  require<FormatError>(!has_window || by_rule || family.architecture == "llama",
                       keys.where("attention.sliding_window"),
                       ": expected none or one of at least the context ", config.context,
                       ", found ", given);
  const Index window =
      has_window ? checked_size(static_cast<Index>(given), keys.where("attention.sliding_window"))
                 : 0;
  if (config.has_local_rotary) {
    config.local_rotary = {.base = keys.number("rope.freq_base_swa", family.local_base)};
  } else {
    keys.only("rope.freq_base_swa", config.rotary.base);
  }
  if (by_rule)
    keys.only("attention.sliding_window_pattern", static_cast<double>(family.window_interval));
  if (!has_window && !by_rule && family.unturned_interval == 0) return;
  set_kinds(
      config, window, keys.where("block_count"),
      [&](Index layer) { return !by_rule || (layer + 1) % family.window_interval != 0; },
      [&](Index layer) {
        return family.unturned_interval == 0 || (layer + 1) % family.unturned_interval != 0;
      });
}

/// Caps and factors. llama.cpp knows the factor of Gemma's scores by the number of layers: the
/// largest models have that of width / heads, the others that of the head width.
inline void read_part_keys(GgufKeys& keys, LlamaConfig& config, const Family& family) {
  if (family.scales_embedding)
    config.embedding_scale = std::sqrt(static_cast<double>(config.width));
  if (family.default_query_scalar > 0) {
    const bool largest = (family.architecture == "gemma2" && config.layers == 46) ||
                         (family.architecture == "gemma3" && config.layers == 62);
    config.attention_scale = 1 / std::sqrt(static_cast<double>(largest ? config.width / config.heads
                                                                       : config.head_width()));
    config.attention_soft_cap = keys.number("attn_logit_softcapping", family.default_score_cap);
    config.logit_soft_cap = keys.number("final_logit_softcapping", family.default_logit_cap);
  }
  if (family.scales_by_multipliers) {
    const auto factor = [&](const char* key) {
      const double found = keys.number(key, 0.0);  // llama.cpp takes 0 for none
      return found == 0 ? 1.0 : checked_positive(found, keys.where(key));
    };
    config.embedding_scale = factor("embedding_scale");
    config.residual_scale = factor("residual_scale");
    config.logit_scale = 1 / factor("logit_scale");
    config.attention_scale = keys.number("attention.scale", 0.0);
  }
}

}  // namespace model_detail

/// Reads the configuration. Throws a FormatError that names the key for an architecture of no known
/// family, for a missing key, for sizes that do not fit together, and for whatever this library
/// can't compute. Safe to call from several threads.
inline LlamaConfig llama_config(const GgufFile& file) {
  GgufKeys general(file, "general.");
  const auto architecture = general.text("architecture");
  const Family* family = family_of_architecture(architecture);
  require<FormatError>(family != nullptr, file.name(), ": general.architecture: expected one of ",
                       joined_families(&Family::architecture), ", found ", architecture);
  const auto type = general.text("type", "model");
  require<FormatError>(type == "model", file.name(), ": general.type: expected model, found ",
                       type);
  GgufKeys keys(file, architecture + ".");
  for (const std::string& key : std::set<std::string>(keys.rest()))
    if (key.starts_with("expert")) keys.only(key, 0.0, ": mixture of experts is not supported");
  LlamaConfig config = config_of(*family);
  config.width = keys.size("embedding_length");
  config.hidden = keys.size("feed_forward_length");
  config.layers = keys.size("block_count");
  config.heads = keys.size("attention.head_count");
  config.kv_heads = keys.size("attention.head_count_kv", config.heads);
  config.context = keys.size("context_length");
  config.norm_epsilon = keys.number("attention.layer_norm_rms_epsilon");
  config.vocabulary = file.tensor("token_embd.weight").rows();
  if (keys.find("attention.key_length")) config.own_head_width = keys.size("attention.key_length");
  if (config.own_head_width * config.heads == config.width) config.own_head_width = 0;
  const double base = keys.number("rope.freq_base", 10000.0);
  config.rotary.base = base;
  require_sizes(config, {keys.where("embedding_length"), keys.where("attention.head_count"),
                         keys.where("attention.head_count_kv"), keys.where("rope.freq_base"),
                         keys.where("attention.layer_norm_rms_epsilon")});
  const Index value_width = keys.size("attention.value_length", config.head_width());
  require<FormatError>(value_width == config.head_width(), keys.where("attention.value_length"),
                       ": expected ", config.head_width(), ", the width of a head, found ",
                       value_width);
  config.rotary = model_detail::read_rotary_keys(keys, file, base, config.head_width());
  model_detail::read_layer_keys(keys, config, *family);
  model_detail::read_part_keys(keys, config, *family);
  for (std::size_t p = 0; p < projection_count; ++p)
    config.biases[p] = file.has("blk.0." + std::string(model_detail::projection_biases[p].gguf));
  keys.only("attention.causal", true);
  keys.only("use_parallel_residual", false);
  keys.only("pooling_type", 0.0);
  // The embedding's rows count; the order of rows is the same in all files.
  keys.changes_nothing({"vocab_size", "tensor_data_layout"});
  keys.refuse_rest();
  return config;
}

}  // namespace qlora::inline QLORA_ABI
