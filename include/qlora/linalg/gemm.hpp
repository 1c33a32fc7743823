/// Products of dense matrices with a packed one. Weights are decoded a block at a time into a
/// scratch that stays in cache, where the micro-kernel takes them (float, blocked.hpp) or Eigen's
/// dense product (double, or without Highway): the whole matrix never exists in dense form.
///
///     qlora::multiply_transposed<float>(x, w.view(), y);   // y = x Wᵀ, the forward product of a
///     linear layer qlora::multiply<float>(dy, w.view(), dx);            // dx = dy W, its backward
///     product
///
/// W: [out, in]; x, dx: [tokens, in]; y, dy: [tokens, out]. Threads own columns of the result, so
/// the sums run in one order.
#pragma once

#include <algorithm>
#include <type_traits>

#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/linalg/blocked.hpp"
#include "qlora/linalg/gemv.hpp"
#include "qlora/quant/quantized_view.hpp"

namespace qlora {

namespace detail {

/// Values in a decoded panel: with the operands beside it this stays within a second-level cache.
inline constexpr Index panel_values = 192 * 1024;

/// Rows of W in a panel of `cols` columns, a multiple of 16.
inline Index panel_rows(Index cols) {
  return std::max<Index>(16, panel_values / std::max<Index>(1, cols) / 16 * 16);
}

/// Rows [first, first + rows), columns [column, column + cols) of W, decoded.
template <class T, class F>
void decode_panel(const QuantizedView<F>& w, Index first, Index rows, Index column, Index cols,
                  RowMatrix<T>& panel) {
  panel.resize(rows, cols);
  for (Index row = 0; row < rows; ++row)
    w.decode_range((first + row) * w.cols() + column, cols, panel.data() + row * cols);
}

}  // namespace detail

/// y = x Wᵀ. Throws ShapeError when the shapes do not fit.
template <class T, class F>
void multiply_transposed(const ConstMatrixRef<T>& x, const QuantizedView<F>& w, MatrixRef<T> y) {
  require_shape("multiply_transposed: x", x, x.rows(), w.cols());
  require_shape("multiply_transposed: y", y, x.rows(), w.rows());
  if (x.rows() <= gemv_rows) return gemv_transposed<T>(x, w, y);
#if QLORA_VECTOR_DECODE
  if constexpr (std::is_same_v<T, float>)
    return detail::blocked_multiply_transposed(x, detail::PackedWeight<F>{w}, y);
#endif
  parallel_ranges(w.rows(), grain_for(w.rows(), 16), [&](Index begin, Index end) {
    const Index height = detail::panel_rows(w.cols());
    RowMatrix<T> panel;
    for (Index first = begin; first < end; first += height) {
      const Index rows = std::min(height, end - first);
      detail::decode_panel(w, first, rows, 0, w.cols(), panel);
      y.middleCols(first, rows).noalias() = x * panel.transpose();
    }
  });
}

/// dx = dy W. Throws ShapeError when the shapes do not fit.
template <class T, class F>
void multiply(const ConstMatrixRef<T>& dy, const QuantizedView<F>& w, MatrixRef<T> dx) {
  require_shape("multiply: dy", dy, dy.rows(), w.rows());
  require_shape("multiply: dx", dx, dy.rows(), w.cols());
#if QLORA_VECTOR_DECODE
  if constexpr (std::is_same_v<T, float>)
    return detail::blocked_multiply(dy, detail::PackedWeight<F>{w}, dx);
#endif
  parallel_ranges(w.cols(), grain_for(w.cols(), 16), [&](Index column, Index end) {
    const Index cols = end - column;
    const Index height = detail::panel_rows(cols);
    RowMatrix<T> panel;
    auto result = dx.middleCols(column, cols);
    result.setZero();
    for (Index first = 0; first < w.rows(); first += height) {
      const Index rows = std::min(height, w.rows() - first);
      detail::decode_panel(w, first, rows, column, cols, panel);
      result.noalias() += dy.middleCols(first, rows) * panel;
    }
  });
}

}  // namespace qlora
