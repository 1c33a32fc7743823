/// What a Llama is like and what its loss is asked for, without a weight or a kernel: the CPU's
/// model and a device's follow it, and so do files and reports.
///
///     qlora::LlamaConfig config{.vocabulary = 32000, .width = 4096, .hidden = 11008};
///     auto [rows, cols] = qlora::projection_shape(config, qlora::down_proj);   // 4096, 11008
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/dropout.hpp"
#include "qlora/core/error.hpp"
#include "qlora/nn/attention_shape.hpp"
#include "qlora/nn/batch_layout.hpp"

namespace qlora {

/// The sizes of a Llama and the two numbers that its arithmetic depends on.
struct LlamaConfig {
  Index vocabulary = 0, width = 0, hidden = 0, layers = 0;
  Index heads = 1, kv_heads = 1, context = 0;
  double rope_base = 10000;
  double norm_epsilon = 1e-5;

  /// Numbers of a head's query, and of its key.
  Index head_width() const { return width / heads; }
  /// The sizes of its attention.
  AttentionShape attention() const { return {heads, kv_heads, head_width()}; }
};

/// The seven projections of a block in the order a token meets them.
enum Projection { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj };
/// How many projections a block has.
inline constexpr int projection_count = 7;

/// Hugging Face's names within a layer, by Projection.
inline constexpr std::array<const char*, projection_count> projection_names{
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

/// The last part of a projection's name, such as q_proj.
inline std::string_view module_name(Projection which) {
  const std::string_view name = projection_names[which];
  return name.substr(name.find('.') + 1);
}

/// Rows and columns of a projection's weight.
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

/// The projections that get an adapter, by their last name as in PEFT's target_modules: "all" of
/// them, or those of the "attention". Throws FormatError for another name.
inline std::vector<std::string> target_modules(std::string_view name) {
  require<FormatError>(name == "all" || name == "attention", "targets '", name,
                       "': expected all or attention");
  const int count = name == "all" ? projection_count : o_proj + 1;
  std::vector<std::string> modules;
  modules.reserve(static_cast<std::size_t>(count));
  for (int p = 0; p < count; ++p) modules.emplace_back(module_name(static_cast<Projection>(p)));
  return modules;
}

/// What a model's loss is asked for beside its value.
struct LossOptions {
  float scale = 1;                   ///< of the gradient: 1 / counted targets for their mean
  bool backward = false;             ///< add to the adapters' gradients
  bool gradient_checkpoint = false;  ///< keep only each block's input and make the rest again
  DropoutKey dropout = {};
};

}  // namespace qlora
