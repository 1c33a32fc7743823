/// What a block is divided by before its weights are coded.
///
///     using Bof4S = qlora::BlockFormat<qlora::BOF4S<64>, 64, qlora::FloatScale<float>,
///                                      qlora::SignedAbsoluteMaximum>;
#pragma once

#include <concepts>

#include "qlora/core/config.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/quant/apply_scale.hpp"

namespace qlora::inline QLORA_ABI {

/// Blocks are divided by their largest magnitude. Where a codebook reaches further on one side of
/// zero than on the other, blocks whose largest weight lies on the short side are clipped to its
/// last value; SignedAbsoluteMaximum suits such codebooks better, because it turns the block to the
/// long side.
struct AbsoluteMaximum {
  /// The largest magnitude of x[0], ..., x[count - 1].
  static constexpr float reference(const float* x, Index count) {
    return largest_magnitude(x, count);
  }
};

/// Blocks are divided by their weight of largest magnitude with its sign, the first of equals; it
/// always meets the codebook's extreme value. The scale carries the sign.
struct SignedAbsoluteMaximum {
  /// The number of largest magnitude among x[0], ..., x[count - 1], with its sign; 0 for none.
  static constexpr float reference(const float* x, Index count) {
    float extreme = 0;
    for (Index i = 0; i < count; ++i)
      extreme = magnitude(x[i]) > magnitude(extreme) ? x[i] : extreme;
    return extreme;
  }
};

/// The smallest and the largest weight of a block.
struct Range {
  float minimum = 0, maximum = 0;
};

/// Codes stand for steps from a block's minimum to its maximum: for AffineScale.
struct MinimumMaximum {
  /// The smallest and the largest of x[0], ..., x[count - 1]; count is 1 or more.
  static constexpr Range reference(const float* x, Index count) {
    Range range{x[0], x[0]};
    for (Index i = 1; i < count; ++i) {
      range.minimum = x[i] < range.minimum ? x[i] : range.minimum;
      range.maximum = x[i] > range.maximum ? x[i] : range.maximum;
    }
    return range;
  }
};

/// `reference(x, count)` gives what a block of at least one weight is divided by: a number, its
/// Range, or the scale and offset that its codes will have.
template <class N>
concept Normalization = requires(const float* x, Index count) {
  { N::reference(x, count) } -> std::same_as<float>;
}
|| requires(const float* x, Index count) {
  { N::reference(x, count) } -> std::same_as<Range>;
}
|| requires(const float* x, Index count) {
  { N::reference(x, count) } -> std::same_as<ScaleAndOffset>;
};

/// What a Normalization's `reference` returns.
template <Normalization N>
using ReferenceOf = decltype(N::reference(nullptr, Index{0}));

}  // namespace qlora::inline QLORA_ABI
