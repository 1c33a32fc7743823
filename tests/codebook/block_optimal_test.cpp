#include "qlora/codebook/block_optimal.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "qlora/codebook/normal_float.hpp"
#include "support/catch.hpp"

using qlora::ErrorMeasure;

namespace {

// The density h of block_optimal.hpp by Simpson's rule over m, from the standard library's erf.
double plain_density(double x, int block_size, double power) {
  constexpr int steps = 1000;
  const auto f = [&](double m) {
    const double within = std::erf(m / std::sqrt(2.0));
    return std::exp(-0.5 * m * m * (1 + x * x)) * std::pow(within, block_size - 2) *
           std::pow(m, power + 1);
  };
  double sum = f(0) + f(9);
  for (int i = 1; i < steps; ++i) sum += f(9.0 * i / steps) * (i % 2 == 0 ? 2 : 4);
  return sum;
}

// The largest distance of a free value from its cell's mean or median.
template <class C>
double distance_from_fixed_point(int block_size, ErrorMeasure measure, bool lowest_fixed) {
  constexpr int cells = 4000;
  std::vector<double> density(cells), centre(cells);
  for (int i = 0; i < cells; ++i) {
    const auto at = static_cast<std::size_t>(i);
    centre[at] = -1 + 2.0 * (i + 0.5) / cells;
    density[at] =
        plain_density(centre[at], block_size, measure == ErrorMeasure::mean_squared ? 2 : 1);
  }
  double worst = 0;
  const auto count = C::values.size();
  for (std::size_t k = lowest_fixed ? 1 : 0; k + 1 < count; ++k) {
    const double value = static_cast<double>(C::values[k]);
    if (value == 0) continue;
    const double low = k == 0 ? -1 : (value + static_cast<double>(C::values[k - 1])) / 2;
    const double high = (value + static_cast<double>(C::values[k + 1])) / 2;
    double mass = 0, moment = 0, below = 0;
    for (std::size_t i = 0; i < density.size(); ++i) {
      // The part of a grid cell that lies between two numbers.
      const auto part = [&](double from, double to) {
        return std::clamp((std::min(to, centre[i] + 1.0 / cells) -
                           std::max(from, centre[i] - 1.0 / cells)) *
                              cells / 2,
                          0.0, 1.0) *
               density[i];
      };
      mass += part(low, high);
      moment += part(low, high) * centre[i];
      below += part(low, value);
    }
    const double distance =
        measure == ErrorMeasure::mean_squared
            ? moment / mass - value
            : (mass / 2 - below) / plain_density(value, block_size, 1) * 2 / cells;
    worst = std::max(worst, std::abs(distance));
  }
  return worst;
}

// Mean squared and mean absolute error of the original weights over simulated blocks.
template <class C>
std::pair<double, double> simulated_errors(int block_size, bool signed_scale) {
  std::mt19937_64 engine(5);
  std::normal_distribution<double> normal;
  std::vector<double> w(static_cast<std::size_t>(block_size));
  double squared = 0, absolute = 0;
  constexpr int blocks = 4000;
  for (int block = 0; block < blocks; ++block) {
    for (double& x : w) x = normal(engine);
    double scale = *std::max_element(w.begin(), w.end(),
                                     [](double a, double b) { return std::abs(a) < std::abs(b); });
    if (!signed_scale) scale = std::abs(scale);
    for (const double x : w) {
      const auto code = qlora::encode<C>(static_cast<float>(x / scale));
      const double error = std::abs(static_cast<double>(qlora::decode<C>(code)) * scale - x);
      squared += error * error;
      absolute += error;
    }
  }
  return {squared / (blocks * block_size), absolute / (blocks * block_size)};
}

}  // namespace

TEST_CASE("free values are the means or medians of their cells") {
  constexpr auto squared = ErrorMeasure::mean_squared, absolute = ErrorMeasure::mean_absolute;
  REQUIRE(distance_from_fixed_point<qlora::BOF4<64>>(64, squared, true) < 1e-5);
  REQUIRE(distance_from_fixed_point<qlora::BOF4S<64>>(64, squared, false) < 1e-5);
  REQUIRE(distance_from_fixed_point<qlora::BlockOptimal<64, 4, absolute>>(64, absolute, true) <
          1e-5);
  REQUIRE(distance_from_fixed_point<qlora::SignedBlockOptimal<32, 3, absolute>>(32, absolute,
                                                                                false) < 1e-5);
  REQUIRE(distance_from_fixed_point<qlora::BOF4<4096>>(4096, squared, true) < 1e-5);
}

TEST_CASE(
    "on normal weights the error is below NormalFloat's, and a signed scale lowers it again") {
  const auto nf4 = simulated_errors<qlora::NF4>(64, false);
  const auto plain = simulated_errors<qlora::BOF4<64>>(64, false);
  const auto with_sign = simulated_errors<qlora::BOF4S<64>>(64, true);
  const auto median =
      simulated_errors<qlora::BlockOptimal<64, 4, ErrorMeasure::mean_absolute>>(64, false);
  REQUIRE(plain.first < 0.97 * nf4.first);
  REQUIRE(with_sign.first < 0.97 * plain.first);
  REQUIRE(median.second < nf4.second);
  REQUIRE(median.second < plain.second);
  REQUIRE(plain.first < median.first);
}

TEST_CASE("zero and what the largest weight meets are values, for any block size") {
  const auto check = []<class C>(bool lowest) {
    REQUIRE(qlora::SortedCodebook<C>);
    REQUIRE(C::values.back() == 1.f);
    REQUIRE((C::values.front() == -1.f) == lowest);
    REQUIRE(std::count(C::values.begin(), C::values.end(), 0.f) == 1);
  };
  check.operator()<qlora::BOF4<1>>(true);
  check.operator()<qlora::BOF4<2>>(true);
  check.operator()<qlora::BOF4<100>>(true);
  check.operator()<qlora::BOF4S<7>>(false);
  check.operator()<qlora::BOF4S<1024>>(false);
  check.operator()<qlora::BlockOptimal<64, 2>>(true);
}
