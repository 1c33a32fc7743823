/// Whether numbers look normal: the test of Shapiro and Wilk, as the QLoRA paper's appendix asks it
/// of a model's weights, row by row.
///
///     double p = qlora::shapiro_wilk(numbers).p;      // below 0.05: not normal at that level
///
/// All functions are pure: several threads may call them at once.
///
/// Royston, "Remark AS R94", Applied Statistics 44 (1995), with its polynomials.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <vector>

#include "qlora/codebook/constant_math.hpp"
#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/matrix.hpp"

namespace qlora::inline QLORA_ABI {

/// The statistic and its probability.
struct ShapiroWilk {
  double w = 0;  ///< 1 for perfectly normal numbers
  double p = 0;  ///< how probable a w as low as this is if the numbers are normal
};

namespace eval_detail {

/// c[0] + c[1] x + c[2] x^2 ...
template <std::size_t n>
double polynomial(const double (&c)[n], double x) {
  double sum = 0;
  for (std::size_t i = n; i-- > 0;) sum = sum * x + c[i];
  return sum;
}

/// 1 - the normal distribution's cumulative function.
inline double upper_normal(double z) { return 0.5 * std::erfc(z / std::numbers::sqrt2); }

/// The weights of the upper half of the ordered sample; the lower half has the same ones, negated.
inline Eigen::VectorXd shapiro_weights(Index n) {
  if (n == 3) return Eigen::VectorXd::Constant(1, std::numbers::sqrt2 / 2);
  const Index half = n / 2;
  Eigen::VectorXd m(half);  // expected order statistics, the largest first
  for (Index i = 0; i < half; ++i)
    m[i] = -normal_quantile((static_cast<double>(i + 1) - 0.375) / (static_cast<double>(n) + 0.25));
  const double sum = 2 * m.squaredNorm(), root = std::sqrt(sum);
  const double u = 1 / std::sqrt(static_cast<double>(n));
  const double first =
      polynomial({0, 0.221157, -0.147981, -2.07119, 4.434685, -2.706056}, u) + m[0] / root;
  Eigen::VectorXd a(half);
  if (n > 5) {
    const double second =
        polynomial({0, 0.042981, -0.293762, -1.752461, 5.682633, -3.582633}, u) + m[1] / root;
    const double scale = std::sqrt((sum - 2 * m[0] * m[0] - 2 * m[1] * m[1]) /
                                   (1 - 2 * first * first - 2 * second * second));
    a = m / scale;
    a[1] = second;
  } else {
    a = m / std::sqrt((sum - 2 * m[0] * m[0]) / (1 - 2 * first * first));
  }
  a[0] = first;
  return a;
}

}  // namespace eval_detail

/// The test for 3 to 5,000 numbers; the polynomials go no further. Numbers that are all equal, or
/// of which one is not finite, give NaN. Throws ShapeError for fewer or more numbers.
template <class Derived>
ShapiroWilk shapiro_wilk(const Eigen::DenseBase<Derived>& numbers) {
  const Index n = numbers.size();
  require<ShapeError>(n >= 3 && n <= 5000, "Shapiro-Wilk: expected 3 to 5000 numbers, found ", n);
  Eigen::VectorXd x = numbers.derived().template cast<double>().reshaped();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  if (!x.allFinite()) return {nan, nan};
  std::sort(x.begin(), x.end());
  const Eigen::VectorXd a = eval_detail::shapiro_weights(n);
  const double spread = (x.array() - x.mean()).matrix().squaredNorm();
  if (!(spread > 0)) return {nan, nan};
  double estimate = 0;
  for (Index i = 0; i < a.size(); ++i) estimate += a[i] * (x[n - 1 - i] - x[i]);
  const double w = std::min(1.0, estimate * estimate / spread);
  if (n == 3) {
    const double least = std::asin(std::sqrt(0.75));
    return {w, std::max(0.0, 6 / std::numbers::pi * (std::asin(std::sqrt(w)) - least))};
  }
  const auto size = static_cast<double>(n);
  const double log_n = std::log(size);
  double y = std::log1p(-w), mean, deviation;
  if (n <= 11) {
    const double gamma = -2.273 + 0.459 * size;
    if (y >= gamma) return {w, 0};
    y = -std::log(gamma - y);
    mean = eval_detail::polynomial({0.544, -0.39978, 0.025054, -6.714e-4}, size);
    deviation = std::exp(eval_detail::polynomial({1.3822, -0.77857, 0.062767, -0.0020322}, size));
  } else {
    mean = eval_detail::polynomial({-1.5861, -0.31082, -0.083751, 0.0038915}, log_n);
    deviation = std::exp(eval_detail::polynomial({-0.4803, -0.082676, 0.0030302}, log_n));
  }
  return {w, eval_detail::upper_normal((y - mean) / deviation)};
}

/// The share of a matrix' rows for which a normal distribution is refused at `level`, from 0 to 1;
/// 0 without rows. Throws ShapeError for rows of fewer than 3 or more than 5,000 numbers.
template <class Derived>
double rows_refused(const Eigen::MatrixBase<Derived>& matrix, double level = 0.05) {
  if (matrix.rows() == 0) return 0;
  Index refused = 0;
  for (Index row = 0; row < matrix.rows(); ++row)
    refused += shapiro_wilk(matrix.row(row)).p < level ? 1 : 0;
  return static_cast<double>(refused) / static_cast<double>(matrix.rows());
}

}  // namespace qlora::inline QLORA_ABI
