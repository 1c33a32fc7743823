/// BOF4 and its kind: the codebook of least expected error of the *original* weights, when normal
/// weights are divided by the largest of their block. Blumenberg et al., "Improving block-wise LLM
/// quantization by 4-bit block-wise optimal float (BOF4)", ICLR 2026; derived here from its
/// conditions, not from its tables.
///
///     using Bof4 = qlora::BlockFormat<qlora::BOF4<64>, 64, qlora::DoubleQuant<>>;
///     using Bof4S = qlora::BlockFormat<qlora::BOF4S<64>, 64,
///                                      qlora::SignBit<qlora::DoubleQuant<>>,
///                                      qlora::SignedAbsoluteMaximum>;
///
/// Let M be the largest magnitude of I normal weights and X = W / M a weight that is not the
/// largest. The error of the original weight is M |X - q(X)|, so X counts with weight M^2 (mean
/// squared error) or M (mean absolute error). Given M = m, the others are normal within (-m, m);
/// with the density of M this leaves one density over x in (-1, 1),
///
///   h(x) = integral over m of phi(m) P(|W| < m)^(I-2) m^(p+1) phi(m x),   p = 2 or 1,
///
/// on which Lloyd's conditions hold: cells end half-way between values, a value is its cell's mean
/// (p = 2) or median (p = 1). Fixed values stay: 0 (weights that are zero stay zero) and those that
/// the block's largest weight meets: both -1 and 1, or with a signed scale only 1.
#pragma once

#include <array>

#include "qlora/codebook/codebook.hpp"
#include "qlora/codebook/constant_math.hpp"
#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// The error that a block-optimal codebook minimizes.
enum class ErrorMeasure { mean_squared, mean_absolute };

namespace codebook_detail {

/// Integrals of h and of x h from 0, tabulated over [0, 1] and interpolated with their slopes.
class BlockDensity {
 public:
  constexpr BlockDensity(int block_size, ErrorMeasure measure) {
    std::array<double, points + 1> weights{};
    for (int k = 1; k <= points; ++k)
      weights[static_cast<std::size_t>(k)] = weight(k * spacing, block_size, measure);
    std::array<double, 4> before{};
    for (int i = 0; i <= steps; ++i) {
      const double x = static_cast<double>(i) / steps;
      double h = 0, slope = 0;
      // The trapezoidal rule converges exponentially: the integrand falls off at both ends.
      for (int k = 1; k <= points; ++k) {
        const double m = k * spacing;
        const double part =
            weights[static_cast<std::size_t>(k)] * constant_exp(-0.5 * m * m * x * x);
        h += part;
        slope -= part * m * m * x;
      }
      const std::array<double, 4> now{h, slope, x * h, h + x * slope};
      const auto at = static_cast<std::size_t>(i);
      density_[at] = h;
      if (i > 0) {
        mass_[at] = mass_[at - 1] + piece(before[0], before[1], now[0], now[1]);
        moment_[at] = moment_[at - 1] + piece(before[2], before[3], now[2], now[3]);
      }
      before = now;
    }
  }

  /// The integral of h from 0 to x; odd.
  constexpr double mass(double x) const {
    return x < 0 ? -interpolate(mass_, -x, false) : interpolate(mass_, x, false);
  }
  /// The integral of x h from 0 to x; even.
  constexpr double moment(double x) const { return interpolate(moment_, x < 0 ? -x : x, true); }
  constexpr double density(double x) const {
    const double place = (x < 0 ? -x : x) * steps;
    const int i = cell(place);
    const double t = place - i;
    const auto at = static_cast<std::size_t>(i);
    return density_[at] * (1 - t) + density_[at + 1] * t;
  }

 private:
  static constexpr int steps = 96, points = 48;
  static constexpr double spacing = 1.0 / 6;

  /// phi(m) P(|W| < m)^(I-2) m^(p+1), up to a factor.
  static constexpr double weight(double m, int block_size, ErrorMeasure measure) {
    const double power = measure == ErrorMeasure::mean_squared ? m * m * m : m * m;
    const double others = (block_size > 2 ? block_size - 2 : 0) * constant_log(normal_within(m));
    const double exponent = others - 0.5 * m * m;
    return exponent > -600 ? power * constant_exp(exponent) : 0;
  }

  /// The integral over one step from values and slopes at its ends.
  static constexpr double piece(double a, double slope_a, double b, double slope_b) {
    constexpr double width = 1.0 / steps;
    return width * (a + b) / 2 + width * width * (slope_a - slope_b) / 12;
  }
  static constexpr int cell(double place) {
    const int i = static_cast<int>(place);
    return i < steps ? i : steps - 1;
  }

  /// Cubic Hermite between the tabulated integrals; slopes are h, or x h.
  constexpr double interpolate(const std::array<double, steps + 1>& table, double x,
                               bool times_x) const {
    const int i = cell(x * steps);
    const double t = x * steps - i;
    const auto at = static_cast<std::size_t>(i);
    const double left = density_[at] * (times_x ? static_cast<double>(i) / steps : 1) / steps;
    const double right =
        density_[at + 1] * (times_x ? static_cast<double>(i + 1) / steps : 1) / steps;
    const double rise = table[at + 1] - table[at];
    return table[at] +
           t * (left + t * ((3 * rise - 2 * left - right) + t * (left + right - 2 * rise)));
  }

  std::array<double, steps + 1> density_{}, mass_{}, moment_{};
};

/// What Lloyd's iteration moves, and what stays.
struct LloydPlan {
  int zero;           ///< the place of the value 0
  bool lowest_fixed;  ///< whether the lowest value stays at -1; the highest stays at 1
};

/// The expected error of sorted values, up to what all codebooks share.
template <std::size_t Count>
constexpr double block_error(const BlockDensity& density, const std::array<double, Count>& values,
                             ErrorMeasure measure) {
  double error = 0, low = -1;
  for (std::size_t k = 0; k < Count; ++k) {
    const double high = k + 1 < Count ? (values[k] + values[k + 1]) / 2 : 1;
    const double c = values[k];
    const double mass = density.mass(high) - density.mass(low);
    const double moment = density.moment(high) - density.moment(low);
    if (measure == ErrorMeasure::mean_squared) {
      error += c * c * mass - 2 * c * moment;
    } else {
      error += c * (2 * density.mass(c) - density.mass(low) - density.mass(high)) +
               density.moment(low) + density.moment(high) - 2 * density.moment(c);
    }
    low = high;
  }
  return error;
}

/// The codebook at which Lloyd's iteration stands still. A few rounds of the iteration come near;
/// then Newton's method on its fixed-point equations, which are tridiagonal, gets there in a
/// hundredth of the rounds (compilers bound the steps of a constant expression).
template <std::size_t Count>
constexpr std::array<double, Count> lloyd(const BlockDensity& density,
                                          std::array<double, Count> values, ErrorMeasure measure,
                                          LloydPlan plan) {
  const bool squared = measure == ErrorMeasure::mean_squared;
  for (int round = 0; round < 40; ++round) {
    std::array<double, Count> off{}, left{}, middle{}, right{};  // equation k and its slopes
    double low = -1, low_density = 0, mass_low = density.mass(low),
           moment_low = density.moment(low);
    for (std::size_t k = 0; k < Count; ++k) {
      const bool last = k + 1 == Count;
      const double c = values[k], high = last ? 1 : (c + values[k + 1]) / 2;
      const double mass_high = density.mass(high), moment_high = density.moment(high);
      const double high_density = last ? 0 : density.density(high) / 2;
      const double mass = mass_high - mass_low;
      const bool fixed = static_cast<int>(k) == plan.zero || last || (k == 0 && plan.lowest_fixed);
      if (fixed) {
        middle[k] = 1;
      } else if (squared) {
        off[k] = c * mass - (moment_high - moment_low);
        left[k] = (low - c) * low_density;
        middle[k] = mass + (c - high) * high_density - (c - low) * low_density;
        right[k] = (c - high) * high_density;
      } else {
        off[k] = 2 * density.mass(c) - mass_low - mass_high;
        left[k] = -low_density;
        middle[k] = 2 * density.density(c) - low_density - high_density;
        right[k] = -high_density;
      }
      if (!fixed && round < 8) {  // Lloyd's own step
        left[k] = right[k] = 0;
        middle[k] = squared ? mass : 2 * density.density(c);
      }
      low = high;
      low_density = high_density;
      mass_low = mass_high;
      moment_low = moment_high;
    }
    for (std::size_t k = 1; k < Count; ++k) {
      const double factor = left[k] / middle[k - 1];
      middle[k] -= factor * right[k - 1];
      off[k] -= factor * off[k - 1];
    }
    double moved = 0, step = 0;
    for (std::size_t k = Count; k-- > 0;) {
      step = (off[k] - right[k] * step) / middle[k];
      values[k] -= step;
      moved = step > moved ? step : -step > moved ? -step : moved;
    }
    if (moved < 1e-12) break;
  }
  return values;
}

/// Equally spaced values to start from: `zero` below 0, 0, and the rest up to 1.
template <std::size_t Count>
constexpr std::array<double, Count> spaced_values(LloydPlan plan) {
  std::array<double, Count> values{};
  const int above = static_cast<int>(Count) - 1 - plan.zero;
  for (int k = 0; k < static_cast<int>(Count); ++k) {
    const int side = k < plan.zero ? plan.zero : above;
    const double step = plan.lowest_fixed || k > plan.zero ? side : side + 0.5;
    values[static_cast<std::size_t>(k)] = (k - plan.zero) / step;
  }
  return values;
}

template <int Bits>
constexpr auto make_block_optimal(int block_size, ErrorMeasure measure, bool signed_scale) {
  constexpr auto count = std::size_t{1} << Bits;
  const BlockDensity density(block_size, measure);
  // 0 stands below or above the middle; the better one is taken.
  std::array<double, count> best{};
  double least = 1e300;
  for (int zero = static_cast<int>(count) / 2 - 1; zero <= static_cast<int>(count) / 2; ++zero) {
    if (!signed_scale && zero == static_cast<int>(count) / 2) break;  // the mirror image
    const LloydPlan plan{zero, !signed_scale};
    const auto values = lloyd(density, spaced_values<count>(plan), measure, plan);
    const double error = block_error(density, values, measure);
    if (error < least) {
      least = error;
      best = values;
    }
  }
  std::array<float, count> rounded{};
  for (std::size_t i = 0; i < count; ++i) rounded[i] = static_cast<float>(best[i]);
  return rounded;
}

}  // namespace codebook_detail

/// Block-optimal for blocks of `BlockSize` scaled by their absolute maximum: -1, 0 and 1 are among
/// the values.
template <int BlockSize, int Bits = 4, ErrorMeasure Measure = ErrorMeasure::mean_squared>
struct BlockOptimal {
  static_assert(BlockSize > 0, "BlockOptimal: the block size must be positive");
  static_assert(Bits >= 2 && Bits <= 6, "BlockOptimal: the width must be 2 to 6 bits");
  static constexpr auto values =
      codebook_detail::make_block_optimal<Bits>(BlockSize, Measure, false);
};

/// Block-optimal for a scale that carries the sign (SignedAbsoluteMaximum): the largest weight is
/// always +1, so -1 need not be met.
template <int BlockSize, int Bits = 4, ErrorMeasure Measure = ErrorMeasure::mean_squared>
struct SignedBlockOptimal {
  static_assert(BlockSize > 0, "SignedBlockOptimal: the block size must be positive");
  static_assert(Bits >= 2 && Bits <= 6, "SignedBlockOptimal: the width must be 2 to 6 bits");
  static constexpr auto values =
      codebook_detail::make_block_optimal<Bits>(BlockSize, Measure, true);
};

/// The paper's names for 4 bits and the mean squared error; BOF4S for signed scales.
template <int BlockSize>
using BOF4 = BlockOptimal<BlockSize>;
template <int BlockSize>
using BOF4S = SignedBlockOptimal<BlockSize>;

}  // namespace qlora::inline QLORA_ABI
