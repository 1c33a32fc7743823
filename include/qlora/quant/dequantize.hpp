/// Codes and scales back to dense weights.
///
///     qlora::RowMatrixXf back = qlora::dequantize(w);
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/quant/quantized_matrix.hpp"

namespace qlora::inline QLORA_ABI {

/// The decoded matrix [rows, cols]: code value times scale in float, then one rounding to T.
template <class T = float, class F>
RowMatrix<T> dequantize(const QuantizedView<F>& w) {
  RowMatrix<T> dense(w.rows(), w.cols());
  const Index grain = grain_for(w.size(), w.block_size() * 64, 4);
  parallel_ranges(w.size(), grain, [&](Index begin, Index end) {
    w.decode_range(begin, end - begin, dense.data() + begin);
  });
  return dense;
}

template <class T = float, class F>
RowMatrix<T> dequantize(const QuantizedMatrix<F>& w) {
  return dequantize<T>(w.view());
}

}  // namespace qlora::inline QLORA_ABI
