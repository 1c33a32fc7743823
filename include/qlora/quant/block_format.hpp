/// A format is a type: the values a code can stand for, how many weights share a scale, how scales
/// are stored, and what a block is divided by.
///
///     using Nf4   = qlora::BlockFormat<qlora::NF4, 64, qlora::FloatScale<float>>;
///     using Nf4Dq = qlora::BlockFormat<qlora::NF4, 64, qlora::DoubleQuant<>>;
///     static_assert(Nf4Dq::bits_per_weight < 4.13);
#pragma once

#include <algorithm>
#include <type_traits>

#include "qlora/codebook/codebook.hpp"
#include "qlora/core/config.hpp"
#include "qlora/quant/normalization.hpp"
#include "qlora/quant/scale.hpp"

namespace qlora::inline QLORA_ABI {

namespace quant_detail {

/// A scale may bring its own normalization, as AffineScale does.
template <class S>
struct default_normalization {
  using type = AbsoluteMaximum;
};
template <class S>
requires requires { typename S::NormalizationType; }
struct default_normalization<S> {
  using type = typename S::NormalizationType;
};

/// Whether a Scale can store what a Normalization gives.
template <class S, class N>
inline constexpr bool scale_stores =
    std::is_same_v<ReferenceOf<N>, ReferenceOf<typename default_normalization<S>::type>> &&
    !(std::is_same_v<N, SignedAbsoluteMaximum> && requires { S::stores_no_sign; });

/// Whether a type is meant as a RuntimeCodebook.
template <class C>
concept LooksRuntime = requires {
  typename C::Storage;
}
|| requires { typename C::View; }
|| requires { C::bits; };

/// The code value that a block's reference maps to; 1 for values known at run time only.
template <class C, class N>
inline constexpr float reference_value = [] {
  if constexpr (RuntimeCodebook<C>) {
    return 1.f;
  } else if constexpr (std::is_same_v<N, SignedAbsoluteMaximum>) {
    return extreme_value<C>;
  } else {
    return largest_value<C>;
  }
}();

/// Whether a codebook's values are steps up from 0, or the normalization needs none such.
template <class C, class N>
constexpr bool steps_from_zero() {
  if constexpr (!std::is_same_v<ReferenceOf<N>, float>) {
    if constexpr (SortedCodebook<C>) return C::values[0] == 0;
    return false;
  }
  return true;
}

/// Whether a Scale refuses a codebook of that largest value.
template <class S>
constexpr bool refuses_largest(float largest) {
  if constexpr (requires { S::saturates(largest); }) return S::saturates(largest);
  return false;
}

}  // namespace quant_detail

/// A block-quantized format. `BlockSizeV` weights, consecutive in row-major order, share a scale;
/// `any_size` leaves the size to the matrix. Code values times the block's scale give the weights.
template <class Code, int BlockSizeV, class ScalePolicy,
          class NormalizationPolicy =
              typename quant_detail::default_normalization<ScalePolicy>::type>
struct BlockFormat {
  static_assert(!quant_detail::LooksRuntime<Code> || RuntimeCodebook<Code>,
                "BlockFormat: the first argument must be a codebook; one of values known at run "
                "time has bits, by_row, a Storage with view(), bytes() and fits(rows), and a "
                "trivially copyable View with view(code, row) and encode(x, row)");
  static_assert(HasConstantValues<Code> || quant_detail::LooksRuntime<Code>,
                "BlockFormat: the first argument must be a codebook, a struct with a public static "
                "constexpr std::array values of numbers");
  static_assert(HasCodeCount<Code> || !HasConstantValues<Code>,
                "BlockFormat: the first argument must be a codebook of 2 to 256 values");
  static_assert(Codebook<Code> || !HasCodeCount<Code>,
                "BlockFormat: the first argument must be a codebook of finite values that are not "
                "all zero");
  static_assert(
      BlockSizeV > 0 || BlockSizeV == any_size,
      "BlockFormat: the second argument, the block size, must be positive or qlora::any_size");
  static_assert(Scale<ScalePolicy>,
                "BlockFormat: the third argument must be a Scale, such as FloatScale<float> or "
                "DoubleQuant<>");
  static_assert(
      Normalization<NormalizationPolicy>,
      "BlockFormat: the fourth argument must be a normalization, such as AbsoluteMaximum");
  static_assert(quant_detail::scale_stores<ScalePolicy, NormalizationPolicy>,
                "BlockFormat: this Scale can't store what this normalization gives: a sign needs "
                "FloatScale, DoubleQuant or SignBit, a minimum needs AffineScale");
  static_assert(!quant_detail::refuses_largest<ScalePolicy>(
                    magnitude(quant_detail::reference_value<Code, NormalizationPolicy>)),
                "BlockFormat: PowerOfTwoScale rounds scales down, which would saturate every block "
                "of this codebook; use PowerOfTwoScale<RoundScale::up>");

  static_assert(quant_detail::steps_from_zero<Code, NormalizationPolicy>(),
                "BlockFormat: a scale with a minimum counts steps up from it: the codebook's "
                "values must begin at 0 and be sorted, as UInt<4>'s are");
  static_assert(!RuntimeCodebook<Code> || std::is_same_v<NormalizationPolicy, AbsoluteMaximum> ||
                    std::is_same_v<NormalizationPolicy, SignedAbsoluteMaximum>,
                "BlockFormat: values known at run time are in units of one scale; they need "
                "AbsoluteMaximum or SignedAbsoluteMaximum");

  using CodebookType = Code;
  using ScaleType = ScalePolicy;
  using NormalizationType = NormalizationPolicy;
  static constexpr int block_size = BlockSizeV;
  static constexpr int code_bits = qlora::code_bits<Code>;
  /// The code value that a block's reference maps to.
  static constexpr float reference_value = quant_detail::reference_value<Code, NormalizationPolicy>;
  /// Bits that a weight costs, scales included; for any_size, without them. A run-time
  /// codebook's own values are not counted.
  static constexpr double bits_per_weight =
      code_bits + (BlockSizeV > 0 ? ScalePolicy::bits_per_scale / BlockSizeV : 0.0);
};

namespace quant_detail {

/// The largest magnitude of weights that a format surely holds, so that they decode to finite
/// numbers; 0 where its Scale does not say. `reference` is the code value that a block's reference
/// maps to, `extreme` the largest magnitude of a code value. Scales that are rounded may come back
/// larger, but not four times.
template <class F>
constexpr float largest_weight(float reference, float extreme) {
  constexpr double held = static_cast<double>(held_scale<typename F::ScaleType>);
  constexpr double all = static_cast<double>(largest_float);
  const auto ref = static_cast<double>(magnitude(reference));
  const auto ext = static_cast<double>(magnitude(extreme));
  double largest = std::min(held * ref, all / 4 * std::min(1.0, ref / ext));
  if constexpr (!std::is_same_v<ReferenceOf<typename F::NormalizationType>, float>) {
    largest = std::min(held, largest / 2);  // the minimum is stored as it is
  } else if constexpr (std::is_same_v<typename F::ScaleType, FloatScale<float>>) {
    // Nothing but a quotient and a product is rounded.
    const float scale = largest_float / magnitude(reference);
    if (ref >= 1 && is_finite(scale * magnitude(extreme))) return largest_float;
  }
  const auto rounded = static_cast<float>(largest);
  return static_cast<double>(rounded) > largest ? next_below(rounded) : rounded;
}

}  // namespace quant_detail

/// Whether F is an instance of BlockFormat.
template <class F>
inline constexpr bool is_block_format = false;
template <class C, int B, class S, class N>
inline constexpr bool is_block_format<BlockFormat<C, B, S, N>> = true;

/// What a QuantizedMatrix may be of: an instance of BlockFormat, or a wrapper of one that says so.
template <class F>
concept Format = is_block_format<F> || requires {
  typename F::InnerFormat;
};

}  // namespace qlora::inline QLORA_ABI
