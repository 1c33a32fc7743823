#include "qlora/codebook/k_means.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/law.hpp"

namespace {

double error_of(const std::vector<qlora::WeightedPoint>& points, const std::vector<float>& values) {
  double sum = 0;
  for (const auto& [x, w] : points) {
    double nearest = std::numeric_limits<double>::infinity();
    for (const float v : values) nearest = std::min(nearest, std::abs(x - static_cast<double>(v)));
    sum += w * nearest * nearest;
  }
  return sum;
}

// The least error over every way to cut the points into `count` runs.
double least_error(const std::vector<qlora::WeightedPoint>& points, std::size_t count) {
  std::function<double(std::size_t, std::size_t)> from = [&](std::size_t begin,
                                                             std::size_t runs) -> double {
    if (begin == points.size()) return 0;
    if (runs == 0) return std::numeric_limits<double>::infinity();
    double best = std::numeric_limits<double>::infinity();
    for (std::size_t end = begin + 1; end <= points.size(); ++end) {
      double weight = 0, mean = 0, error = 0;
      for (std::size_t i = begin; i < end; ++i) weight += points[i].weight;
      for (std::size_t i = begin; i < end; ++i) mean += points[i].weight * points[i].position;
      mean /= weight;
      for (std::size_t i = begin; i < end; ++i)
        error += points[i].weight * (points[i].position - mean) * (points[i].position - mean);
      best = std::min(best, error + from(end, runs - 1));
    }
    return best;
  };
  return from(0, count);
}

}  // namespace

TEST_CASE("no cut of the points has a smaller error than k_means finds") {
  test::law("k-means", [](std::vector<std::uint8_t> steps) {
    if (steps.size() > 9) steps.resize(9);
    std::vector<qlora::WeightedPoint> points;
    double position = -1;
    for (const std::uint8_t step : steps) {
      position += (step % 16 + 1) / 100.0;
      points.push_back({position, step / 16 + 1.0});
    }
    const std::size_t count = steps.empty() ? 2 : steps[0] % 4 + 1u;
    const auto values = qlora::k_means(points, count);
    RC_ASSERT(values.size() == count);
    RC_ASSERT(std::is_sorted(values.begin(), values.end()));
    RC_ASSERT(error_of(points, values) <= least_error(points, count) + 1e-9);
  });
}

TEST_CASE("with as many values as points k_means returns the points, with more the last repeats") {
  const std::vector<qlora::WeightedPoint> points{{-1, 2}, {0.25, 1}, {0.5, 7}};
  REQUIRE(qlora::k_means(points, 3) == std::vector<float>{-1, 0.25f, 0.5f});
  REQUIRE(qlora::k_means(points, 5) == std::vector<float>{-1, 0.25f, 0.5f, 0.5f, 0.5f});
  REQUIRE(qlora::k_means({}, 2) == std::vector<float>{0, 0});
}

TEST_CASE("weights of any size give finite ascending values within the points") {
  const std::vector<qlora::WeightedPoint> points{{-0.9, 1e-88}, {-0.5, 1e76}, {-0.2, 1e-30},
                                                 {0.1, 1e-60},  {0.4, 1e-88}, {0.9, 1e70}};
  for (const std::size_t count : {2, 3, 4, 6, 9}) {
    const auto values = qlora::k_means(points, count);
    REQUIRE(std::is_sorted(values.begin(), values.end()));
    for (const float value : values) REQUIRE((value >= -0.91f && value <= 0.91f));
  }
}
