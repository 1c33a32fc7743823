/// Which weights are kept in 16 bits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/quant/outlier_preserving.hpp"
#include "qlora/quant/require_finite.hpp"

namespace qlora::inline QLORA_ABI::quant_detail {

/// The matrix with zeros for its weights of largest magnitude, and those; the first of equals.
/// Throws NumericError for a weight that bfloat16 can't hold.
inline std::pair<std::vector<float>, Outliers> split_outliers(const float* weights, Index rows,
                                                              Index cols, double share) {
  require<ShapeError>(cols <= Index{0xffffffff}, "quantize: outliers have 32-bit columns, found ",
                      cols, " columns");
  const Index count = rows * cols;
  require_finite(weights, 0, count, cols);
  const auto kept = static_cast<Index>(share * static_cast<double>(count));
  require<ShapeError>(kept <= Index{0xffffffff},
                      "quantize: outliers are counted in 32 bits, found ", kept, " of them");
  std::pair<std::vector<float>, Outliers> result{{weights, weights + count}, {}};
  auto& [rest, outliers] = result;
  outliers.row_start.assign(static_cast<std::size_t>(rows) + 1, 0);
  if (kept == 0) return result;
  std::vector<float> sizes(static_cast<std::size_t>(count));
  std::transform(weights, weights + count, sizes.begin(), [](float w) { return magnitude(w); });
  std::nth_element(sizes.begin(), sizes.begin() + (kept - 1), sizes.end(), std::greater<>());
  const float least = sizes[static_cast<std::size_t>(kept - 1)];
  Index larger =
      std::count_if(weights, weights + count, [=](float w) { return magnitude(w) > least; });
  for (Index i = 0; i < count; ++i) {
    const float size = magnitude(weights[i]);
    if (size < least || (size == least && larger++ >= kept)) continue;
    rest[static_cast<std::size_t>(i)] = 0;
    outliers.column.push_back(static_cast<std::uint32_t>(i % cols));
    const bfloat16 kept_value(weights[i]);
    require<NumericError>(is_finite(kept_value), "quantize: row ", i / cols, ", column ", i % cols,
                          ": expected a weight of at most ", bfloat16::largest,
                          ", which is the largest that bfloat16 holds, found ", weights[i]);
    outliers.value.push_back(kept_value);
    ++outliers.row_start[static_cast<std::size_t>(i / cols) + 1];
  }
  for (std::size_t row = 1; row < outliers.row_start.size(); ++row)
    outliers.row_start[row] += outliers.row_start[row - 1];
  return result;
}

}  // namespace qlora::inline QLORA_ABI::quant_detail
