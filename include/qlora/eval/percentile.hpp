/// Percentiles, for bootstrap intervals.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

namespace qlora {

namespace detail {

inline double percentile_of_sorted(const std::vector<double>& values, double share) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double place = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace detail

/// The value below which `share` (0 to 1) of the values lie, on a line between the two nearest (R's
/// type 7, numpy's default). NaN without values.
inline double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return detail::percentile_of_sorted(values, share);
}

struct Interval {
  double low = 0, high = 0;
};

/// The percentiles that leave as much below as above, `level` between them.
inline Interval central_interval(std::vector<double> values, double level) {
  std::sort(values.begin(), values.end());
  return {detail::percentile_of_sorted(values, (1 - level) / 2),
          detail::percentile_of_sorted(values, (1 + level) / 2)};
}

}  // namespace qlora
