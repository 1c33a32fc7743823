/// How a LoRA adapter is made, and the factor that follows from it.
///
///     qlora::LoraOptions options{.rank = 64, .alpha = 16, .rank_stabilized = true};
///     double s = options.scaling();   // 16 / sqrt(64) = 2
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// Plain values. A layer checks them where it takes them.
struct LoraOptions {
  Index rank = 16;  ///< 0 leaves the base alone
  float alpha = 32;
  /// Scales the adapter by alpha / sqrt(rank) and not by alpha / rank, as PEFT's use_rslora does.
  /// Kalajdzievski 2023.
  bool rank_stabilized = false;
  float dropout = 0;  ///< probability of dropping an input of A, in [0, 1)
  /// Of A's start. Without one it follows from the layer's weights and its place in a Sequential, and
  /// so does what dropout drops: layers differ by themselves, and the same layer made again is the
  /// same. Layers of one shape with one given seed start and drop alike; Llama::adapt gives each its
  /// own.
  std::optional<std::uint64_t> seed = {};
  /// Trains the layer's bias too, which starts at zero where the layer has none.
  bool train_bias = false;

  /// The factor before the adapter's product; 0 without a rank.
  template <class T = double>
  T scaling() const {
    if (rank <= 0) return T(0);
    const auto r = static_cast<T>(rank);
    return static_cast<T>(alpha) / (rank_stabilized ? std::sqrt(r) : r);
  }
};

}  // namespace qlora::inline QLORA_ABI
