/// NormalFloat: quantiles of the standard normal distribution, so that each code is about equally
/// likely for normal weights. Dettmers et al. 2023, section 3 and appendix E.
///
///     static_assert(qlora::NF4::values[7] == 0.f && qlora::NF4::values[15] == 1.f);
///
/// The positive side takes 2^(Bits-1) of 2^(Bits-1) + 1 equally spaced points from `offset` to 1/2
/// (without 1/2), the negative side one less; with zero that makes 2^Bits values, divided by the
/// largest. Points are spaced in float32, quantiles taken in double, the division is in float32:
/// that reproduces bitsandbytes' NF4 bit for bit.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "qlora/codebook/codebook.hpp"
#include "qlora/codebook/constant_math.hpp"
#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

namespace codebook_detail {

/// Where the outermost quantile lies: at the float32 of `offset_bits`; if those are 0, at the
/// published literal for four bits and by the paper's formula for other widths.
constexpr float normal_float_offset(int bits, std::uint32_t offset_bits) {
  if (offset_bits != 0) return __builtin_bit_cast(float, offset_bits);
  if (bits == 4) return 0.9677083f;
  const double codes = static_cast<double>(1 << (bits + 1));
  return static_cast<float>(1 - (1 / codes + 1 / (codes - 2)) / 2);
}

/// The values of a distribution with the given quantile function (of p in [1/2, 1)).
template <int Bits, class Quantile>
constexpr auto make_quantile_codebook(float offset, Quantile quantile) {
  constexpr int half = 1 << (Bits - 1);
  std::array<float, std::size_t{1} << Bits> values{};
  std::size_t next = 0;
  for (int i = 0; i < half; ++i)
    values[next++] =
        static_cast<float>(quantile(static_cast<double>(spaced_point(offset, 0.5f, half + 1, i))));
  for (int i = 0; i + 1 < half; ++i)
    values[next++] =
        static_cast<float>(-quantile(static_cast<double>(spaced_point(offset, 0.5f, half, i))));
  values[next] = 0;
  std::sort(values.begin(), values.end());
  const float largest = values.back();
  for (float& value : values) value /= largest;
  return values;
}

}  // namespace codebook_detail

/// NormalFloat of 2 to 8 bits; `OffsetBits` are the bits of a float32 offset (0 takes the published
/// one).
template <int Bits, std::uint32_t OffsetBits = 0>
struct NormalFloat {
  static_assert(Bits >= 2 && Bits <= 8, "NormalFloat: the width must be 2 to 8 bits");
  static constexpr auto values = codebook_detail::make_quantile_codebook<Bits>(
      codebook_detail::normal_float_offset(Bits, OffsetBits), normal_quantile);
};

/// The paper's data type, equal to bitsandbytes' table bit for bit.
using NF4 = NormalFloat<4>;
using NF2 = NormalFloat<2>;
using NF3 = NormalFloat<3>;
using NF8 = NormalFloat<8>;

}  // namespace qlora::inline QLORA_ABI
