/// Products of dense matrices with a packed one. Weights are decoded a block at a time into a
/// scratch that stays in cache, where the micro-kernel takes them (float, blocked.hpp) or Eigen's
/// dense product (double, or without Highway): the whole matrix never exists in dense form.
///
///     // the forward product of a linear layer, y = x Wᵀ
///     qlora::forward_product<float>(x, w.view(), y);
///     // its backward product, dx = dy W
///     qlora::backward_product<float>(dy, w.view(), dx);
///
/// W: [out, in]; x, dx: [tokens, in]; y, dy: [tokens, out]. Threads own columns of the result, so
/// the sums run in one order. ProductOptions add to the output, a bias or a LoRA adapter's share,
/// and choose the arithmetic. x and dy may hold bfloat16. May be called by several threads at once,
/// each with an output of its own.
#pragma once

#include <algorithm>
#include <type_traits>

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/linalg/dispatch.hpp"
#include "qlora/linalg/product_options.hpp"
#include "qlora/quant/packed_view.hpp"

namespace qlora::inline QLORA_ABI {

/// What products of T are summed in.
template <class T>
using SumOf = std::conditional_t<std::is_same_v<T, bfloat16>, float, T>;

namespace linalg_detail {

/// Rows or columns of W that a thread takes at a time: Eigen's order of sums may depend on the
/// shape of a product, which therefore must not depend on the number of threads.
inline constexpr Index thread_part = 128;

/// Columns of W that a thread takes at a time for dx: Eigen packs both factors for every part, and
/// wide parts spare it that. In double they stay as they were, for the bits' sake.
template <class T>
inline constexpr Index column_part = std::is_same_v<T, float> ? 3 * thread_part : thread_part;

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

/// y += x Wᵀ, a panel of W at a time, by Eigen.
template <class T, class F>
void forward_product_by_panels(const ConstMatrixRef<T>& x, const QuantizedView<F>& w,
                               MatrixRef<T> y) {
  parallel_ranges(w.rows(), thread_part, [&](Index begin, Index end) {
    // Eigen sums the products of a few rows in an order that depends on the panel; row by row of W
    // it does not.
    const Index height = x.rows() <= few_tokens ? 1 : panel_rows(w.cols());
    RowMatrix<T> panel;
    for (Index first = begin; first < end; first += height) {
      const Index rows = std::min(height, end - first);
      decode_panel(w, first, rows, 0, w.cols(), panel);
      if (height == 1) {
        for (Index token = 0; token < x.rows(); ++token)
          y(token, first) += x.row(token).dot(panel.row(0));
      } else {
        y.middleCols(first, rows).noalias() += x * panel.transpose();
      }
    }
  });
}

/// dx += dy W likewise.
template <class T, class F>
void backward_product_by_panels(const ConstMatrixRef<T>& dy, const QuantizedView<F>& w,
                                MatrixRef<T> dx) {
  parallel_ranges(w.cols(), column_part<T>, [&](Index column, Index end) {
    const Index cols = end - column;
    const Index height = panel_rows(cols);
    RowMatrix<T> panel;
    for (Index first = 0; first < w.rows(); first += height) {
      const Index rows = std::min(height, w.rows() - first);
      decode_panel(w, first, rows, column, cols, panel);
      if (dy.rows() <= few_tokens) {
        for (Index row = 0; row < rows; ++row)
          for (Index token = 0; token < dy.rows(); ++token)
            dx.row(token).segment(column, cols) += dy(token, first + row) * panel.row(row);
      } else {
        dx.middleCols(column, cols).noalias() += dy.middleCols(first, rows) * panel;
      }
    }
  });
}

inline RowMatrixXf widened(const ConstMatrixRef<bfloat16>& x) {
  RowMatrixXf wide(x.rows(), x.cols());
  for (Index row = 0; row < x.rows(); ++row)
    for (Index col = 0; col < x.cols(); ++col)
      wide(row, col) = static_cast<float>(x.data()[row * x.outerStride() + col]);
  return wide;
}

}  // namespace linalg_detail

/// y = x Wᵀ, and what `options` adds. T: float, double, or bfloat16 with y in float. Throws
/// ShapeError when the shapes do not fit.
template <class T, class F>
void forward_product(const ConstMatrixRef<T>& x, const QuantizedView<F>& w, MatrixRef<SumOf<T>> y,
                     const ProductOptions<SumOf<T>>& options = {}) {
  require_shape("forward_product: x", x, x.rows(), w.cols());
  require_shape("forward_product: y", y, x.rows(), w.rows());
  options.require_shapes("forward_product", x.rows(), w.rows(), Side::forward);
#if QLORA_HAS_VECTORS
  if constexpr (std::is_same_v<SumOf<T>, float>)
    return linalg_detail::forward_product_by_kernels<T>(x, linalg_detail::WeightRef(w), y, options);
#endif
  if constexpr (std::is_same_v<T, bfloat16>) {
    forward_product<float>(linalg_detail::widened(x), w, y, options);
  } else {
    options.begin(y);
    linalg_detail::forward_product_by_panels<T>(x, w, y);
    options.finish(y, Side::forward);
  }
}

/// dx = dy W, and what `options` adds. T: float, double, or bfloat16 with dx in float. Throws
/// ShapeError when the shapes do not fit.
template <class T, class F>
void backward_product(const ConstMatrixRef<T>& dy, const QuantizedView<F>& w,
                      MatrixRef<SumOf<T>> dx, const ProductOptions<SumOf<T>>& options = {}) {
  require_shape("backward_product: dy", dy, dy.rows(), w.rows());
  require_shape("backward_product: dx", dx, dy.rows(), w.cols());
  options.require_shapes("backward_product", dy.rows(), w.cols(), Side::backward);
#if QLORA_HAS_VECTORS
  if constexpr (std::is_same_v<SumOf<T>, float>)
    return linalg_detail::backward_product_by_kernels<T>(dy, linalg_detail::WeightRef(w), dx,
                                                         options);
#endif
  if constexpr (std::is_same_v<T, bfloat16>) {
    backward_product<float>(linalg_detail::widened(dy), w, dx, options);
  } else {
    options.begin(dx);
    linalg_detail::backward_product_by_panels<T>(dy, w, dx);
    options.finish(dx, Side::backward);
  }
}

}  // namespace qlora::inline QLORA_ABI
