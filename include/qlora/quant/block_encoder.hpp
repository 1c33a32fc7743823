/// How the weights of a block become codes, and how the scales of blocks are coded in turn. It is
/// written once, for the CPU (quant/quantize.hpp, quant/scale.hpp) and for kernels
/// (cuda/quantize.hpp), so that both give the same bits.
///
///     using Format = qlora::BlockFormat<qlora::NF4, 64, qlora::DoubleQuant<>>;
///     using Code = Format::CodebookType;
///     const bool full = true;             // the block has 64 weights
///     const float absmax = 0.75f;         // their largest magnitude
///     const auto divisor = qlora::BlockDivisor<float>::of(absmax, Format::reference_value, full);
///     const auto code = qlora::encode_clamped<Code>(divisor.in_units(0.5f, full));
///     const float reference = divisor.stored;     // what the Scale is given
///
/// The rounding steps are bitsandbytes': a full block is multiplied by the reciprocal of its scale,
/// a short last block is divided by its scale, and 1e-38 is the least scale.
///
/// All of it is values and pure functions: safe to use from several threads.
#pragma once

#include <cstdint>

#include "qlora/codebook/codebook.hpp"
#include "qlora/core/config.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/quant/normalization.hpp"

namespace qlora::inline QLORA_ABI {

/// The least magnitude that a block's weights are divided by.
inline constexpr float smallest_divisor = 1e-38f;

/// What a block's weights are divided by before they are coded, and what is stored of it.
/// `Reference` is what the Normalization gives: float or Range.
template <class Reference>
struct BlockDivisor;

/// For blocks that are divided by one number, perhaps with a sign.
template <>
struct BlockDivisor<float> {
  float factor = 0;  ///< a full block's weights are multiplied by it, a short one's divided
  float stored = 0;  ///< the reference to store: a short block's is no smaller than 1e-38

  /// `value`: the code value that the reference maps to. A reference of NaN is stored as NaN.
  static QLORA_HD constexpr BlockDivisor of(float reference, float value, bool full) {
    const float scale = reference / value;
    const bool tiny = magnitude(scale) < smallest_divisor;
    const float divisor = !tiny ? scale : scale < 0 ? -smallest_divisor : smallest_divisor;
    if (full) return {1.f / divisor, reference};
    return {divisor, tiny ? divisor * value : reference};
  }

  /// A weight in units of the block's scale.
  QLORA_HD constexpr float in_units(float weight, bool full) const {
    return full ? weight * factor : weight / factor;
  }
};

/// For blocks whose codes are steps from the minimum up, as ggml's Q4_1 takes them. A short block
/// is treated as a full one.
template <>
struct BlockDivisor<Range> {
  float reciprocal = 0;  ///< of a step, 0 where all weights are equal
  Range stored = {};

  static QLORA_HD constexpr BlockDivisor of(Range reference, float value, bool) {
    const float step = (reference.maximum - reference.minimum) / value;
    return {step > 0 ? 1.f / step : 0.f, reference};
  }
  QLORA_HD constexpr float in_units(float weight, bool) const {
    return (weight - stored.minimum) * reciprocal;
  }
};

/// Whether some numbers beyond what absmax maps to would get a code of their own.
template <Codebook Code>
inline constexpr bool has_codes_beyond = [] {
  constexpr auto between = make_thresholds<Code>();
  for (int t = 0; t + 1 < code_count<Code>; ++t)
    if (magnitude(between.at[t]) > largest_value<Code>) return true;
  return false;
}();

/// A number in units of its block's scale, brought back to where absmax maps to.
template <Codebook Code>
QLORA_HD constexpr float clamped(float value) {
  if constexpr (has_codes_beyond<Code>) {
    constexpr float largest = largest_value<Code>;
    return value > largest ? largest : value < -largest ? -largest : value;
  } else {
    return value;
  }
}

/// The code of a number in units of its block's scale.
template <Codebook Code>
QLORA_HD constexpr std::uint8_t encode_clamped(float value) {
  return encode<Code>(clamped<Code>(value));
}

/// The mean of `count` scales, each a reference over the code value that it maps to. They are added
/// up in double, one after the other in the order of their blocks; 0 for no scales.
QLORA_HD constexpr float mean_of_scales(const float* scales, Index count) {
  double sum = 0;
  for (Index i = 0; i < count; ++i) sum += static_cast<double>(scales[i]);
  return count > 0 ? static_cast<float>(sum / static_cast<double>(count)) : 0.f;
}

/// How the scales of a nested block are coded (DoubleQuant): less the mean of all scales, over the
/// largest magnitude of what is left, which is the block's own reference.
template <Codebook Map>
struct NestedBlock {
  float mean = 0;
  float largest = 0;  ///< the largest magnitude of less_mean(scale) in the block

  /// A scale less the mean of all scales.
  QLORA_HD constexpr float less_mean(float scale) const { return scale - mean; }
  /// A scale in units of the block's scale; the block must not be one of equal scales.
  QLORA_HD constexpr float in_units(float scale) const {
    return less_mean(scale) / largest * largest_value<Map>;
  }
  /// The code of a scale: 0 in a block of equal scales, as in bitsandbytes.
  QLORA_HD constexpr std::uint8_t encode(float scale) const {
    return largest > 0 ? qlora::encode<Map>(in_units(scale)) : std::uint8_t{0};
  }
};

}  // namespace qlora::inline QLORA_ABI
