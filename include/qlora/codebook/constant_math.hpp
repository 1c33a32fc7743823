/// Functions for compile time, in double, from which codebooks are derived. Series stop before
/// their terms underflow, which nvcc refuses in a constant expression.
///
///     static_assert(qlora::normal_quantile(0.5) == 0);
#pragma once

#include <array>
#include <cstdint>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// Natural logarithm for compile time: x = m 2^e with m in [sqrt(1/2), sqrt(2)), then 2 atanh((m -
/// 1) / (m + 1)).
constexpr double constant_log(double x) {
  int exponent = 0;
  while (x >= 1.4142135623730951) {
    x /= 2;
    ++exponent;
  }
  while (x < 0.7071067811865476) {
    x *= 2;
    --exponent;
  }
  const double z = (x - 1) / (x + 1), square = z * z;
  double power = z, sum = 0;
  for (int k = 1; k < 60 && (power > 1e-40 || power < -1e-40); k += 2) {
    sum += power / k;
    power *= square;
  }
  return 2 * sum + exponent * 0.693147180559945309417232121458;
}

/// The square root of x >= 0. Newton's steps come down to it from above, and end where they would
/// not come closer.
constexpr double constant_sqrt(double x) {
  if (!(x > 0) || x > 1.7976931348623157e308) return x;
  double guess = x > 1 ? x : 1;
  for (double next = (guess + x / guess) / 2; next < guess; next = (guess + x / guess) / 2)
    guess = next;
  return guess;
}

namespace codebook_detail {

/// The ratio of two polynomials at r, the constant terms first.
constexpr double ratio(double r, const std::array<double, 8>& numerator,
                       const std::array<double, 8>& denominator) {
  double top = 0, bottom = 0;
  for (int i = 7; i >= 0; --i) {
    top = top * r + numerator[static_cast<std::size_t>(i)];
    bottom = bottom * r + denominator[static_cast<std::size_t>(i)];
  }
  return top / bottom;
}

}  // namespace codebook_detail

/// The quantile of the standard normal distribution, 0 < p < 1. Wichura, algorithm AS 241 (PPND16),
/// Applied Statistics 37, 1988; about 16 digits.
constexpr double normal_quantile(double p) {
  const double q = p - 0.5;
  if (q <= 0.425 && q >= -0.425) {
    return q * codebook_detail::ratio(
                   0.180625 - q * q,
                   {3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3,
                    1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
                    3.3430575583588128105e+4, 2.5090809287301226727e+3},
                   {1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2,
                    5.3941960214247511077e+3, 2.1213794301586595867e+4, 3.9307895800092710610e+4,
                    2.8729085735721942674e+4, 5.2264952788528545610e+3});
  }
  double r = constant_sqrt(-constant_log(q < 0 ? p : 1 - p));
  double tail = 0;
  if (r <= 5) {
    tail = codebook_detail::ratio(
        r - 1.6,
        {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
         3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
         2.27238449892691845833e-2, 7.74545014278341407640e-4},
        {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
         1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
         1.05075007164441684324e-9});
  } else {
    tail = codebook_detail::ratio(
        r - 5,
        {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
         2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
         2.71155556874348757815e-5, 2.01033439929228813265e-7},
        {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
         7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
         2.04426310338993978564e-15});
  }
  return q < 0 ? -tail : tail;
}

/// e^x for compile time: x = k log 2 + r, then r's series. 0 below -708, where it is less than a
/// double of full precision, and infinity above 709.
constexpr double constant_exp(double x) {
  if (x < -708) return 0;
  if (x > 709) return __builtin_huge_val();
  constexpr double log_2 = 0.693147180559945309417232121458;
  const double turns = x / log_2;
  const int k = static_cast<int>(turns < 0 ? turns - 0.5 : turns + 0.5);
  const double r = x - k * log_2;
  double sum = 1;
  for (int n = 14; n > 0; --n) sum = 1 + sum * r / n;
  return sum * __builtin_bit_cast(double, static_cast<std::uint64_t>(k + 1023) << 52);
}

/// The density of the standard normal distribution.
constexpr double normal_density(double x) {
  return 0.398942280401432677939946059934 * constant_exp(-0.5 * x * x);
}

/// P(|X| < x) of a standard normal X, x >= 0: 2 phi(x) (x + x^3/3 + x^5/15 + ...).
constexpr double normal_within(double x) {
  if (x > 9) return 1;  // the rest is below 1e-18
  double term = x, sum = x;
  for (int n = 3; n < 400 && term > 1e-18 * sum; n += 2) {
    term *= x * x / n;
    sum += term;
  }
  return 2 * normal_density(x) * sum;
}

/// The sine of x in [-2, 2], by its series.
constexpr double constant_sin(double x) {
  double term = x, sum = x;
  for (int n = 2; n < 40 && (term > 1e-40 || term < -1e-40); n += 2) {
    term *= -x * x / (n * (n + 1));
    sum += term;
  }
  return sum;
}
/// The cosine of x in [-4, 4], from the sine of half of it.
constexpr double constant_cos(double x) {
  const double half = constant_sin(x / 2);
  return 1 - 2 * half * half;
}

/// Point i of `steps` equally spaced float32 points: from the start in the first half, from the end
/// in the second, product and sum rounded once (in double, which holds the product exactly), as
/// torch.linspace does it on processors with fused multiply-add. A single point is the start.
constexpr float spaced_point(float start, float end, int steps, int i) {
  if (steps == 1) return start;
  const auto step = static_cast<double>((end - start) / static_cast<float>(steps - 1));
  return static_cast<float>(i < steps / 2 ? static_cast<double>(start) + step * i
                                          : static_cast<double>(end) - step * (steps - 1 - i));
}

}  // namespace qlora::inline QLORA_ABI
