/// Quantiles of Student's t distribution: for weights with heavier tails than normal ones. Dotzel
/// et al., "Learning from students: applying t-distributions to explore accurate and efficient
/// formats for LLMs", ICML 2024, with NormalFloat's points.
///
///     using Sf4 = qlora::BlockFormat<qlora::StudentFloat<4, 5>, 64, qlora::FloatScale<float>>;
#pragma once

#include <cstdint>

#include "qlora/codebook/constant_math.hpp"
#include "qlora/codebook/normal_float.hpp"
#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

namespace codebook_detail {

/// The quantile of p in [1/2, 1) of Student's t with a whole number of degrees of freedom. With t =
/// sqrt(n) tan(a), P(|T| < t) is a finite sum in sin a and cos a (Abramowitz and Stegun, 26.7.3 and
/// 26.7.4); a is found by bisection.
template <int Degrees>
constexpr double student_quantile(double p) {
  const auto within = [](double angle) {
    const double sine = constant_sin(angle), cosine = constant_cos(angle);
    constexpr double two_over_pi = 0.636619772367581343075535053490;
    constexpr bool even = Degrees % 2 == 0;
    double term = even ? sine : Degrees > 1 ? sine * cosine : 0, sum = term;
    for (int k = even ? 1 : 2; k <= Degrees - 3; k += 2) {
      term *= cosine * cosine * k / (k + 1);
      sum += term;
    }
    return even ? sum : two_over_pi * (angle + sum);
  };
  double low = 0, high = 1.570796326794896619231321691640;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (within(middle) < 2 * p - 1 ? low : high) = middle;
  }
  return constant_sqrt(Degrees) * constant_sin(low) / constant_cos(low);
}

}  // namespace codebook_detail

/// Student-t quantiles of 2 to 8 bits at NormalFloat's points; 5 degrees of freedom are usual.
template <int Bits, int Degrees = 5, std::uint32_t OffsetBits = 0>
struct StudentFloat {
  static_assert(Bits >= 2 && Bits <= 8, "StudentFloat: the width must be 2 to 8 bits");
  static_assert(Degrees >= 1 && Degrees <= 100,
                "StudentFloat: expected 1 to 100 degrees of freedom");
  static constexpr auto values = codebook_detail::make_quantile_codebook<Bits>(
      codebook_detail::normal_float_offset(Bits, OffsetBits),
      codebook_detail::student_quantile<Degrees>);
};

}  // namespace qlora::inline QLORA_ABI
