/// What a LoRA adapter is like, and the factor that follows from it.
///
///     qlora::LoraOptions options{.rank = 64, .alpha = 16, .rank_stabilized = true};
///     double s = options.scaling();   // 16 / sqrt(64) = 2
#pragma once

#include <cmath>
#include <cstdint>

#include "qlora/core/config.hpp"

namespace qlora {

struct LoraOptions {
  Index rank = 16;  ///< 0 leaves the base alone
  float alpha = 32;
  /// Scales the adapter by alpha / sqrt(rank) and not by alpha / rank, as PEFT's use_rslora does.
  /// Kalajdzievski 2023.
  bool rank_stabilized = false;
  float dropout = 0;  ///< probability of dropping an input of A, in [0, 1)
  /// Of A's start. Layers of one shape with one seed start alike: give each layer its own, such as
  /// derive_key(seed, layer). Llama::adapt does that.
  std::uint64_t seed = 0;

  /// The factor before the adapter's product; 0 without a rank.
  template <class T = double>
  T scaling() const {
    if (rank <= 0) return T(0);
    const auto r = static_cast<T>(rank);
    return static_cast<T>(alpha) / (rank_stabilized ? std::sqrt(r) : r);
  }
};

}  // namespace qlora
