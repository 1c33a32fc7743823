/// The families of decoders, as data: how transformers and GGUF call each, which norms its files
/// have and by what names, and what holds where a file is silent. A family that needs nothing new is
/// one entry here.
///
///     const qlora::Family& family = qlora::find_family("qwen3");
///     family.architecture;   // "qwen3", the name in GGUF files
///
/// All functions are pure: any number of threads may call them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/model/llama_config.hpp"

namespace qlora::inline QLORA_ABI {

/// The same weight's names in the two conventions, without the part that names its layer. Empty
/// where a family has no such weight.
struct NamePair {
  std::string_view hugging_face, gguf;
};

/// The norms of a layer around its sublayers.
struct NormNames {
  NamePair before_attention = {}, after_attention = {};
  NamePair before_feed_forward = {}, after_feed_forward = {};
  /// All four, those that are not there among them.
  constexpr std::array<NamePair, 4> all() const {
    return {before_attention, after_attention, before_feed_forward, after_feed_forward};
  }
};

/// Which layers of a family see a window only, where no list in config.json says it.
enum class WindowRule : std::uint8_t {
  none,           ///< none; a window in the file must be as long as the context
  all,            ///< all, where the file has a window
  upper_if_used,  ///< from max_window_layers on, where use_sliding_window is true
  all_but_each    ///< all but each nth, the last of n
};

/// What a family is called, and how it differs. Defaults are those of transformers' configuration
/// classes, for keys that a config.json leaves out.
struct Family {
  std::string_view model_type;    ///< in config.json
  std::string_view architecture;  ///< in GGUF files
  NormNames norms;
  NormPlace norm_place = NormPlace::before;
  QueryKeyNorm query_key_norm = QueryKeyNorm::none;
  GateFunction gate = GateFunction::silu;
  bool interleaves_rows = false;  ///< whether GGUF files have rows of q and k in the other order
  bool norms_add_one = false;  ///< whether 1 is added to a folder's norm weights; GGUF has it added
  bool scales_embedding = false;       ///< whether the embedding is multiplied by sqrt(width)
  bool has_qkv_bias = false;           ///< whether q, k and v have biases whatever the file says
  bool scales_by_multipliers = false;  ///< whether it has the four multipliers of Granite
  bool ties_embeddings = false;
  WindowRule windows = WindowRule::none;
  Index window_interval = 0;     ///< n of all_but_each
  Index default_window = 0;      ///< 0 for none
  Index unturned_interval = 0;   ///< each nth layer has no rotary embedding; 0 for none
  Index default_kv_heads = 0;    ///< 0 for as many as heads
  Index default_head_width = 0;  ///< 0 for width / heads
  Index default_context = 2048;
  double default_epsilon = 1e-6, default_base = 10000;
  double local_base = 0;            ///< of layers that slide; 0 where they turn like the others
  double default_query_scalar = 0;  ///< q k / sqrt(this); 0 for the head width
  double default_score_cap = 0, default_logit_cap = 0;
};

namespace model_detail {

inline constexpr NormNames llama_norms{
    .before_attention = {"input_layernorm.weight", "attn_norm.weight"},
    .before_feed_forward = {"post_attention_layernorm.weight", "ffn_norm.weight"}};
inline constexpr NormNames gemma_norms{
    .before_attention = {"input_layernorm.weight", "attn_norm.weight"},
    .after_attention = {"post_attention_layernorm.weight", "post_attention_norm.weight"},
    .before_feed_forward = {"pre_feedforward_layernorm.weight", "ffn_norm.weight"},
    .after_feed_forward = {"post_feedforward_layernorm.weight", "post_ffw_norm.weight"}};
inline constexpr NormNames olmo2_norms{
    .after_attention = {"post_attention_layernorm.weight", "post_attention_norm.weight"},
    .after_feed_forward = {"post_feedforward_layernorm.weight", "post_ffw_norm.weight"}};

}  // namespace model_detail

/// The most layers of a model whose layers differ; more come from broken files.
inline constexpr Index most_layers = 65536;

/// A tensor of GGUF files that divides the frequencies of the rotary embedding, one number a pair:
/// how llama.cpp carries Llama 3's scaling.
inline constexpr std::string_view rotary_divisors_name = "rope_freqs.weight";

/// Every family. GGUF has no architecture of its own for Mistral: its files say llama.
inline constexpr std::array families{Family{.model_type = "llama",
                                            .architecture = "llama",
                                            .norms = model_detail::llama_norms,
                                            .interleaves_rows = true},
                                     Family{.model_type = "mistral",
                                            .architecture = "llama",
                                            .norms = model_detail::llama_norms,
                                            .interleaves_rows = true,
                                            .windows = WindowRule::all,
                                            .default_window = 4096,
                                            .default_kv_heads = 8,
                                            .default_context = 131072},
                                     Family{.model_type = "qwen2",
                                            .architecture = "qwen2",
                                            .norms = model_detail::llama_norms,
                                            .has_qkv_bias = true,
                                            .windows = WindowRule::upper_if_used,
                                            .default_window = 4096,
                                            .default_kv_heads = 32,
                                            .default_context = 32768},
                                     Family{.model_type = "qwen3",
                                            .architecture = "qwen3",
                                            .norms = model_detail::llama_norms,
                                            .query_key_norm = QueryKeyNorm::by_head,
                                            .windows = WindowRule::upper_if_used,
                                            .default_window = 4096,
                                            .default_kv_heads = 32,
                                            .default_head_width = 128,
                                            .default_context = 32768},
                                     Family{.model_type = "gemma2",
                                            .architecture = "gemma2",
                                            .norms = model_detail::gemma_norms,
                                            .norm_place = NormPlace::both,
                                            .gate = GateFunction::gelu_tanh,
                                            .norms_add_one = true,
                                            .scales_embedding = true,
                                            .ties_embeddings = true,
                                            .windows = WindowRule::all_but_each,
                                            .window_interval = 2,
                                            .default_window = 4096,
                                            .default_kv_heads = 4,
                                            .default_head_width = 256,
                                            .default_context = 8192,
                                            .default_query_scalar = 256,
                                            .default_score_cap = 50,
                                            .default_logit_cap = 30},
                                     Family{.model_type = "gemma3_text",
                                            .architecture = "gemma3",
                                            .norms = model_detail::gemma_norms,
                                            .norm_place = NormPlace::both,
                                            .query_key_norm = QueryKeyNorm::by_head,
                                            .gate = GateFunction::gelu_tanh,
                                            .norms_add_one = true,
                                            .scales_embedding = true,
                                            .ties_embeddings = true,
                                            .windows = WindowRule::all_but_each,
                                            .window_interval = 6,
                                            .default_window = 4096,
                                            .default_kv_heads = 4,
                                            .default_head_width = 256,
                                            .default_context = 131072,
                                            .default_base = 1e6,
                                            .local_base = 10000,
                                            .default_query_scalar = 256},
                                     Family{.model_type = "olmo2",
                                            .architecture = "olmo2",
                                            .norms = model_detail::olmo2_norms,
                                            .norm_place = NormPlace::after,
                                            .query_key_norm = QueryKeyNorm::whole,
                                            .default_epsilon = 1e-5},
                                     Family{.model_type = "granite",
                                            .architecture = "granite",
                                            .norms = model_detail::llama_norms,
                                            .interleaves_rows = true,
                                            .scales_by_multipliers = true},
                                     Family{.model_type = "smollm3",
                                            .architecture = "smollm3",
                                            .norms = model_detail::llama_norms,
                                            .interleaves_rows = true,
                                            .ties_embeddings = true,
                                            .windows = WindowRule::upper_if_used,
                                            .unturned_interval = 4,
                                            .default_kv_heads = 4,
                                            .default_context = 32768,
                                            .default_base = 2e6}};

/// What a family says of its models' arithmetic, whatever a file says.
inline LlamaConfig config_of(const Family& family) {
  LlamaConfig config;
  config.family = family.model_type;
  config.gate = family.gate;
  config.query_key_norm = family.query_key_norm;
  config.norm_place = family.norm_place;
  config.has_local_rotary = family.local_base > 0;
  return config;
}

namespace model_detail {

/// Sets the kinds of the layers: slides(layer) and turns(layer) say which see a window only and
/// which have rotary embedding. window: 0 for none; then a layer that slides differs in its rotary
/// embedding at most. Throws FormatError for too many layers, naming `where`.
template <class Slides, class Turns>
void set_kinds(LlamaConfig& config, Index window, const std::string& where, Slides&& slides,
               Turns&& turns) {
  require<FormatError>(config.layers <= most_layers, where, ": expected at most ", most_layers,
                       ", found ", config.layers);
  config.window = window;
  const bool may_slide = window > 0 || config.has_local_rotary;
  bool differ = false;
  for (Index layer = 0; layer < config.layers; ++layer) {
    const LayerKind kind{may_slide && slides(layer), turns(layer)};
    config.kinds.push_back(kind);
    differ = differ || kind.sliding || !kind.turns;
  }
  if (!differ) config.kinds.clear();
}

}  // namespace model_detail

/// The family of a model_type; nothing for another one.
inline const Family* family_of_type(std::string_view model_type) {
  for (const Family& family : families)
    if (family.model_type == model_type) return &family;
  return nullptr;
}
/// The family of an architecture of GGUF; nothing for another one.
inline const Family* family_of_architecture(std::string_view architecture) {
  for (const Family& family : families)
    if (family.architecture == architecture) return &family;
  return nullptr;
}
/// The same by model_type. Throws OptionError for another one.
inline const Family& find_family(std::string_view model_type) {
  const Family* family = family_of_type(model_type);
  require<OptionError>(family != nullptr, "no family of models is called '", model_type, "'");
  return *family;
}

/// All of them for messages: "llama, mistral, ...", by model_type or by architecture.
inline std::string joined_families(std::string_view Family::*name) {
  std::string all;
  std::string_view last;
  for (const Family& family : families) {
    if (family.*name == last) continue;
    last = family.*name;
    all += (all.empty() ? "" : ", ") + std::string(last);
  }
  return all;
}

}  // namespace qlora::inline QLORA_ABI
