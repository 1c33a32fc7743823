/// The configuration of a decoder and the options of its loss, without weights or kernels. It says
/// all that the arithmetic of the known families depends on: the Llamas, and what Qwen, Gemma, OLMo,
/// Granite and others change in them. The models on the CPU and on a device use it, and so do
/// readers of files and reports.
///
///     qlora::LlamaConfig config{.vocabulary = 32000, .width = 4096, .hidden = 11008};
///     auto [rows, cols] = qlora::projection_shape(config, qlora::down_proj);   // 4096, 11008
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/dropout.hpp"
#include "qlora/core/error.hpp"
#include "qlora/nn/attention_shape.hpp"
#include "qlora/nn/batch_layout.hpp"
#include "qlora/nn/gate_function.hpp"
#include "qlora/nn/rotary.hpp"

namespace qlora::inline QLORA_ABI {

/// Where the norms of a sublayer (the attention, the feed-forward part) stand: before it, after it,
/// or both.
enum class NormPlace : std::uint8_t { before, after, both };
/// The norms of queries and keys before they turn: none, one a head, or one over all heads.
enum class QueryKeyNorm : std::uint8_t { none, by_head, whole };

/// What layers of one model may differ in.
struct LayerKind {
  bool sliding = false;  ///< whether a query sees the window only
  bool turns = true;     ///< whether queries and keys get rotary embedding
};

/// The seven projections of a block, in the order in which the forward pass uses them.
enum Projection { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj };
/// How many projections a block has.
inline constexpr int projection_count = 7;

/// Hugging Face's names of the projections within a layer, in the order of Projection.
inline constexpr std::array<const char*, projection_count> projection_names{
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

/// The last part of a projection's name, such as q_proj.
inline std::string_view module_name(Projection which) {
  const std::string_view name = projection_names[which];
  return name.substr(name.find('.') + 1);
}

/// The sizes of a decoder, and whatever else its arithmetic depends on. `width` is that of the
/// residual stream between the blocks, and `hidden` is that of the feed-forward part within one.
/// kv_heads heads of keys and values serve all heads of queries. `context` is the most tokens that
/// a sequence may have. What is not set is as in Llama 2. A plain value, which several threads may
/// read together.
struct LlamaConfig {
  Index vocabulary = 0, width = 0, hidden = 0, layers = 0;
  Index heads = 1, kv_heads = 1, context = 0;
  Rotary rotary = {};
  double norm_epsilon = 1e-5;

  /// The family, by the model_type that transformers has for it. It says how files spell the model
  /// (families.hpp); no number depends on it.
  std::string_view family = "llama";
  Index own_head_width = 0;                        ///< of a head; 0 for width / heads
  std::array<bool, projection_count> biases = {};  ///< which projections have one
  QueryKeyNorm query_key_norm = QueryKeyNorm::none;
  NormPlace norm_place = NormPlace::before;
  double norm_offset = 0;  ///< what is added to the norms' weights of the files
  GateFunction gate = GateFunction::silu;
  std::vector<LayerKind> kinds = {};  ///< one a layer; empty where all are as LayerKind begins
  Index window = 0;                   ///< of the layers that slide
  bool has_local_rotary = false;      ///< whether layers that slide turn by `local_rotary`
  Rotary local_rotary = {};
  double attention_scale = 0;     ///< factor of the scores; 0 for 1 / sqrt(head width)
  double attention_soft_cap = 0;  ///< c of c tanh(score / c); 0 for none
  double logit_soft_cap = 0;      ///< the same of the logits
  double embedding_scale = 1, residual_scale = 1, logit_scale = 1;

  /// The number of elements of a query, a key or a value in one head.
  Index head_width() const { return own_head_width > 0 ? own_head_width : width / heads; }
  /// The kind of a layer.
  LayerKind kind(Index layer) const {
    return kinds.empty() ? LayerKind{} : kinds[static_cast<std::size_t>(layer)];
  }
  /// The attention of a layer.
  AttentionShape attention(Index layer = 0) const {
    return {.heads = heads,
            .kv_heads = kv_heads,
            .head_width = head_width(),
            .window = kind(layer).sliding ? window : 0,
            .scale = attention_scale,
            .soft_cap = attention_soft_cap};
  }
};

/// The shape [rows, cols] of a projection's weight, which is [outputs, inputs].
inline std::pair<Index, Index> projection_shape(const LlamaConfig& config, Projection which) {
  const Index q_width = config.heads * config.head_width();
  const Index kv_width = config.kv_heads * config.head_width();
  switch (which) {
    case q_proj:
      return {q_width, config.width};
    case o_proj:
      return {config.width, q_width};
    case k_proj:
    case v_proj:
      return {kv_width, config.width};
    case gate_proj:
    case up_proj:
      return {config.hidden, config.width};
    default:
      return {config.width, config.hidden};
  }
}

/// The first part of a configuration that is not Llama 2's arithmetic, for what can't compute it; ""
/// where there is none.
inline std::string_view beyond_plain_llama(const LlamaConfig& config) {
  for (const bool has : config.biases)
    if (has) return "biases";
  if (config.query_key_norm != QueryKeyNorm::none) return "norms of queries and keys";
  if (config.norm_place != NormPlace::before) return "norms after the sublayers";
  if (config.gate != GateFunction::silu) return "a gate of another function than silu";
  for (const LayerKind& kind : config.kinds) {
    if (kind.sliding) return "a window";
    if (!kind.turns) return "layers without rotary embedding";
  }
  if (config.rotary.width != 0) return "heads that turn in part";
  if (config.attention_scale != 0 || config.attention_soft_cap != 0)
    return "scaled or capped scores";
  if (config.logit_soft_cap != 0 || config.logit_scale != 1) return "scaled or capped logits";
  if (config.embedding_scale != 1 || config.residual_scale != 1)
    return "scales of the embedding or of the residual stream";
  return "";
}

/// Throws OptionError, naming what it is, unless a device can compute a configuration: Llama 2's
/// arithmetic, with any scaling of its rotary embedding, and heads as wide as the model together.
inline void require_device_llama(const LlamaConfig& config) {
  const std::string_view beyond = beyond_plain_llama(config);
  require<OptionError>(beyond.empty(), "device: a model with ", beyond,
                       " can't be on a device yet: its family is ", config.family);
  require<OptionError>(config.heads * config.head_width() == config.width,
                       "device: expected heads that are as wide as the model together, found ",
                       config.heads, " of ", config.head_width(), " for ", config.width);
}

/// The names of the projections that get an adapter, as in PEFT's target_modules: of all
/// projections for "all", and of the four of the attention for "attention". Throws OptionError for
/// another name.
inline std::vector<std::string> target_modules(std::string_view name) {
  require<OptionError>(name == "all" || name == "attention", "targets '", name,
                       "': expected all or attention");
  const int count = name == "all" ? projection_count : o_proj + 1;
  std::vector<std::string> modules;
  modules.reserve(static_cast<std::size_t>(count));
  for (int p = 0; p < count; ++p) modules.emplace_back(module_name(static_cast<Projection>(p)));
  return modules;
}

/// What to compute beside the value of a loss. A plain value.
struct LossOptions {
  float scale = 1;                   ///< factor of the gradient; 1 / counted targets for the mean
  bool backward = false;             ///< whether to add to the gradients of the adapters
  bool gradient_checkpoint = false;  ///< whether to keep each block's input only, and recompute
  DropoutKey dropout = {};           ///< of the adapters
};

}  // namespace qlora::inline QLORA_ABI
