/// The configuration of a Llama and the options of its loss, without weights or kernels. The models
/// on the CPU and on a device use it, and so do readers of files and reports.
///
///     qlora::LlamaConfig config{.vocabulary = 32000, .width = 4096, .hidden = 11008};
///     auto [rows, cols] = qlora::projection_shape(config, qlora::down_proj);   // 4096, 11008
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/dropout.hpp"
#include "qlora/core/error.hpp"
#include "qlora/nn/attention_shape.hpp"
#include "qlora/nn/batch_layout.hpp"

namespace qlora::inline QLORA_ABI {

/// The sizes of a Llama, and the two other numbers that its arithmetic depends on. `width` is that
/// of the residual stream between the blocks, and `hidden` is that of the feed-forward part within
/// one. kv_heads heads of keys and values serve all heads of queries. `context` is the most tokens
/// that a sequence may have. A plain value, which several threads may read together.
struct LlamaConfig {
  Index vocabulary = 0, width = 0, hidden = 0, layers = 0;
  Index heads = 1, kv_heads = 1, context = 0;
  double rope_base = 10000;
  double norm_epsilon = 1e-5;

  /// The number of elements of a query, a key or a value in one head.
  Index head_width() const { return width / heads; }
  /// The sizes of the attention.
  AttentionShape attention() const { return {heads, kv_heads, head_width()}; }
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

/// The shape [rows, cols] of a projection's weight, which is [outputs, inputs].
inline std::pair<Index, Index> projection_shape(const LlamaConfig& config, Projection which) {
  const Index kv_width = config.kv_heads * config.head_width();
  switch (which) {
    case k_proj:
    case v_proj:
      return {kv_width, config.width};
    case gate_proj:
    case up_proj:
      return {config.hidden, config.width};
    case down_proj:
      return {config.width, config.hidden};
    default:
      return {config.width, config.width};
  }
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
