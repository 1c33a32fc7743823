/// The best values for weighted points on a line: k-means in one dimension, exact.
///
///     std::vector<qlora::WeightedPoint> points = ...;          // ascending positions
///     std::vector<float> values = qlora::k_means(points, 16);  // ascending, of least squared error
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// A number and how often it counts.
struct WeightedPoint {
  double position = 0, weight = 0;
};

namespace codebook_detail {

/// Sums over the first points, so that the squared error of any run of them about its mean is a
/// difference.
class PrefixMoments {
 public:
  explicit PrefixMoments(std::span<const WeightedPoint> points) : sums_(points.size() + 1) {
    for (std::size_t i = 0; i < points.size(); ++i) {
      const auto [x, w] = points[i];
      sums_[i + 1] = {sums_[i].weight + w, sums_[i].first + w * x, sums_[i].second + w * x * x};
    }
  }
  double mean(std::size_t begin, std::size_t end) const {
    return (sums_[end].first - sums_[begin].first) / (sums_[end].weight - sums_[begin].weight);
  }
  double error(std::size_t begin, std::size_t end) const {
    const double first = sums_[end].first - sums_[begin].first;
    const double weight = sums_[end].weight - sums_[begin].weight;
    return sums_[end].second - sums_[begin].second - first * first / weight;
  }

 private:
  struct Moments {
    double weight = 0, first = 0, second = 0;
  };
  std::vector<Moments> sums_;
};

/// One more cluster: for every end in [low, high] the best start of the last cluster, known to lie
/// in [first, last]. Starts grow with ends, so halving costs n log n.
struct KMeansLayer {
  const PrefixMoments& moments;
  const std::vector<double>& before;  // the least error of the first i points with one cluster less
  std::vector<double>& least;
  std::vector<std::uint32_t>& start;

  void solve(std::size_t low, std::size_t high, std::size_t first, std::size_t last) {
    const std::size_t middle = (low + high) / 2;
    double best = std::numeric_limits<double>::infinity();
    std::size_t place = first;
    for (std::size_t from = first; from < middle && from <= last; ++from) {
      const double error = before[from] + moments.error(from, middle);
      if (error < best) {
        best = error;
        place = from;
      }
    }
    least[middle] = best;
    start[middle] = static_cast<std::uint32_t>(place);
    if (middle > low) solve(low, middle - 1, first, place);
    if (middle < high) solve(middle + 1, high, place, last);
  }
};

}  // namespace codebook_detail

/// `count` ascending values of least weighted squared error for points of ascending position and
/// positive weight, by dynamic programming (Wu 1991, "Optimal quantization by matrix searching").
/// With fewer points than values the last value repeats; without points all are 0. Where weights
/// are so far apart that double loses the small ones beside the large, those points get the middle
/// of their run as their value.
inline std::vector<float> k_means(std::span<const WeightedPoint> points, std::size_t count) {
  const std::size_t n = points.size();
  if (n == 0) return std::vector<float>(count, 0.f);
  const codebook_detail::PrefixMoments moments(points);
  const std::size_t clusters = count < n ? count : n;
  std::vector<double> before(n + 1), least(n + 1);
  std::vector<std::vector<std::uint32_t>> starts(clusters, std::vector<std::uint32_t>(n + 1, 0));
  for (std::size_t end = 1; end <= n; ++end) least[end] = moments.error(0, end);
  for (std::size_t k = 1; k < clusters; ++k) {
    before.swap(least);
    codebook_detail::KMeansLayer{moments, before, least, starts[k]}.solve(k + 1, n, k, n - 1);
  }
  std::vector<float> values(count);
  std::size_t end = n;
  for (std::size_t k = clusters; k-- > 0;) {
    const std::size_t begin = k == 0 ? 0 : starts[k][end];
    const double low = points[begin].position, high = points[end - 1].position;
    double mean = moments.mean(begin, end);
    const double margin = 1e-6 * (std::abs(low) + std::abs(high));
    if (!(mean >= low - margin && mean <= high + margin)) mean = (low + high) / 2;
    values[k] = static_cast<float>(mean);
    end = begin;
  }
  for (std::size_t k = clusters; k < count; ++k) values[k] = values[clusters - 1];
  return values;
}

}  // namespace qlora::inline QLORA_ABI
