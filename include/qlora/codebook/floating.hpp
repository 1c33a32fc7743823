/// Codebooks of small floating-point types.
///
///     static_assert(qlora::largest_value<qlora::E2M1> == 6.f);
#pragma once

#include <array>

#include "qlora/codebook/codebook.hpp"
#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// bitsandbytes' FP4 in code order: bit 3 is the sign, 1/192 the subnormal, values are twelfths
/// divided by their largest. OCP's E2M1 is another type.
struct FP4 {
  static constexpr std::array values{
      0.f,  0.0052083333f,  0.6666667f,  1.f,  0.33333334f,  0.5f,  0.16666667f,  0.25f,
      -0.f, -0.0052083333f, -0.6666667f, -1.f, -0.33333334f, -0.5f, -0.16666667f, -0.25f};
};

/// A floating-point type of a sign, `ExponentBits` and `FractionBits`, with subnormals: its
/// `Magnitudes` smallest magnitudes in the order of their bits, then the same with a minus sign.
/// Ties go to the even fraction, and zero to +0. OCP Microscaling Formats Specification 1.0, 2023.
template <int ExponentBits, int FractionBits, int Magnitudes = 1 << (ExponentBits + FractionBits)>
struct SmallFloat {
  static_assert(ExponentBits >= 1 && FractionBits >= 0 && ExponentBits + FractionBits <= 7,
                "SmallFloat: sign, exponent and fraction must fit in 8 bits");
  static_assert(Magnitudes >= 2 && Magnitudes <= 1 << (ExponentBits + FractionBits),
                "SmallFloat: there are not that many magnitudes");
  static constexpr auto values = [] {
    std::array<float, 2 * Magnitudes> table{};
    constexpr int one = 1 << FractionBits, bias = (1 << (ExponentBits - 1)) - 1;
    for (int bits = 0; bits < Magnitudes; ++bits) {
      const int exponent = bits / one, fraction = bits % one;
      float value = static_cast<float>(exponent > 0 ? one + fraction : fraction);
      int power = (exponent > 0 ? exponent : 1) - bias - FractionBits;
      for (; power > 0; --power) value *= 2;
      for (; power < 0; ++power) value /= 2;
      table[static_cast<std::size_t>(bits)] = value;
      table[static_cast<std::size_t>(bits + Magnitudes)] = -value;
    }
    return table;
  }();

  /// Between neighbours, the one of even bits; between -0 and +0, the latter.
  static constexpr bool tie_goes_up(int lower, int upper) {
    const int low = lower % Magnitudes, high = upper % Magnitudes;
    return high % 2 == 0 && (low % 2 != 0 || low == high);
  }
};

/// OCP's four-bit type of MXFP4 and NVFP4: 0, 0.5, 1, 1.5, 2, 3, 4, 6.
using E2M1 = SmallFloat<2, 1>;
/// Powers of two: 0, 0.25, 0.5, ..., 16.
using E3M0 = SmallFloat<3, 0>;
/// OCP's FP8 types; finite values only (E4M3 has one NaN per sign, E5M2 four codes of infinity and
/// NaN).
using E4M3 = SmallFloat<4, 3, 127>;
using E5M2 = SmallFloat<5, 2, 124>;

}  // namespace qlora::inline QLORA_ABI
