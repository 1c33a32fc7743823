/// A format is a type: the values a code can stand for, how many weights share a scale, how scales
/// are stored, and what a block is divided by.
///
///     using Nf4   = qlora::BlockFormat<qlora::NF4, 64, qlora::FloatScale<float>>;
///     using Nf4Dq = qlora::BlockFormat<qlora::NF4, 64, qlora::DoubleQuant<>>;
///     static_assert(Nf4Dq::bits_per_weight < 4.13);
#pragma once

#include <concepts>

#include "qlora/codebook/codebook.hpp"
#include "qlora/quant/scale.hpp"

namespace qlora {

/// Blocks are divided by their largest magnitude.
struct AbsoluteMaximum {
  static constexpr float reference(const float* x, Index count) {
    float largest = 0;
    for (Index i = 0; i < count; ++i)
      largest = magnitude(x[i]) > largest ? magnitude(x[i]) : largest;
    return largest;
  }
};

/// `reference(x, count)` gives the number that a block is divided by.
template <class N>
concept Normalization = requires(const float* x, Index count) {
  { N::reference(x, count) } -> std::same_as<float>;
};

/// A block-quantized format. `BlockSizeV` weights, consecutive in row-major order, share a scale;
/// `Dynamic` leaves the size to the matrix. Code values times the block's scale give the weights.
template <class Code, int BlockSizeV, class ScalePolicy,
          class NormalizationPolicy = AbsoluteMaximum>
struct BlockFormat {
  static_assert(Codebook<Code>,
                "BlockFormat: the first argument must be a codebook, a struct with static "
                "constexpr std::array values of 2 to "
                "256 finite numbers that are not all zero");
  static_assert(
      BlockSizeV > 0 || BlockSizeV == Dynamic,
      "BlockFormat: the second argument, the block size, must be positive or qlora::Dynamic");
  static_assert(Scale<ScalePolicy>,
                "BlockFormat: the third argument must be a Scale, such as FloatScale<float> or "
                "DoubleQuant<>");
  static_assert(
      Normalization<NormalizationPolicy>,
      "BlockFormat: the fourth argument must be a normalization, such as AbsoluteMaximum");

  using CodebookType = Code;
  using ScaleType = ScalePolicy;
  using NormalizationType = NormalizationPolicy;
  static constexpr int block_size = BlockSizeV;
  static constexpr int code_bits = qlora::code_bits<Code>;
  /// Bits that a weight costs, scales included; for a Dynamic block size, without them.
  static constexpr double bits_per_weight =
      code_bits + (BlockSizeV > 0 ? ScalePolicy::bits_per_scale / BlockSizeV : 0.0);
};

namespace detail {
template <class F>
struct is_block_format : std::false_type {};
template <class C, int B, class S, class N>
struct is_block_format<BlockFormat<C, B, S, N>> : std::true_type {};
}  // namespace detail

/// Any instance of BlockFormat.
template <class F>
concept Format = detail::is_block_format<F>::value;

}  // namespace qlora
