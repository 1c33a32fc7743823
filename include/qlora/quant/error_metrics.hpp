/// How far packed weights are from the dense ones.
///
///     qlora::QuantizationError error = qlora::quantization_error(dense, w.view());
///     error.signal_to_noise_db;
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/quant/packed_view.hpp"

namespace qlora::inline QLORA_ABI {

/// The differences of packed weights from the dense ones, in the units of the weights.
struct QuantizationError {
  double mean_squared = 0;        ///< the mean of the squared differences
  double largest = 0;             ///< the largest difference of a weight
  double signal_to_noise_db = 0;  ///< 10 log10 (sum w^2 / sum error^2); infinite without an error
};

/// dense: [rows, cols] as w. Rows are decoded one by one, and summed in double in their order.
/// Throws ShapeError when the shapes differ.
template <class F>
QuantizationError quantization_error(const ConstMatrixRef<float>& dense,
                                     const QuantizedView<F>& w) {
  require_shape("quantization_error", dense, w.rows(), w.cols());
  std::vector<float> decoded(static_cast<std::size_t>(w.cols()));
  double signal = 0, noise = 0, largest = 0;
  for (Index row = 0; row < w.rows(); ++row) {
    w.decode_range(row * w.cols(), w.cols(), decoded.data());
    for (Index col = 0; col < w.cols(); ++col) {
      const double weight = static_cast<double>(dense(row, col));
      const double error = weight - static_cast<double>(decoded[static_cast<std::size_t>(col)]);
      signal += weight * weight;
      noise += error * error;
      largest = std::max(largest, std::abs(error));
    }
  }
  const auto count = static_cast<double>(std::max<Index>(1, w.size()));
  return {noise / count, largest,
          noise > 0 ? 10 * std::log10(signal / noise) : std::numeric_limits<double>::infinity()};
}

}  // namespace qlora::inline QLORA_ABI
