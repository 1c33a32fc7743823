/// Percentiles, for bootstrap intervals.
///
///     auto [low, high] = qlora::central_interval({1, 2, 3, 4}, 0.95);
///
/// All functions are pure: several threads may call them at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

namespace tournament_detail {

inline double percentile_of_sorted(const std::vector<double>& values, double share) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double place = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace tournament_detail

/// The value below which `share` (0 to 1) of the values lie, interpolated on a line between the two
/// nearest (type 7 of Hyndman and Fan, "Sample quantiles in statistical packages", 1996; numpy's
/// default). Returns NaN without values.
inline double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return tournament_detail::percentile_of_sorted(values, share);
}

/// From `low` to `high`; both NaN without values.
struct Interval {
  double low = 0, high = 0;
};

/// The interval that holds the share `level` (0 to 1) of the values and leaves as many below it as
/// above.
inline Interval central_interval(std::vector<double> values, double level) {
  std::sort(values.begin(), values.end());
  return {tournament_detail::percentile_of_sorted(values, (1 - level) / 2),
          tournament_detail::percentile_of_sorted(values, (1 + level) / 2)};
}

}  // namespace qlora::inline QLORA_ABI
