/// Dense products shaped like a linear layer's, split over threads the way that suits tall and
/// narrow matrices.
///
///     qlora::multiply_transposed<float>(x, a, low);            // low = x Aᵀ
///     qlora::accumulate_outer<float>(dy, x, grad, 1.f);        // grad += dyᵀ x
#pragma once

#include <type_traits>

#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/linalg/blocked.hpp"

namespace qlora {

namespace detail {
inline constexpr Index dense_row_grain = 32;

#if QLORA_VECTOR_DECODE
/// Products of fewer rows than this are left to Eigen's matrix-vector code.
inline constexpr Index blocked_rows = 5;
inline DenseWeight dense_weight(const ConstMatrixRef<float>& w) {
  return {w.data(), w.rows(), w.cols(), w.outerStride()};
}
#endif
}  // namespace detail

/// y = x Wᵀ. x: [tokens, in], w: [out, in], y: [tokens, out].
template <class T>
void multiply_transposed(const ConstMatrixRef<T>& x, const RowMatrix<T>& w, MatrixRef<T> y) {
  require_shape("multiply_transposed: x", x, x.rows(), w.cols());
  require_shape("multiply_transposed: y", y, x.rows(), w.rows());
#if QLORA_VECTOR_DECODE
  if constexpr (std::is_same_v<T, float>) {
    if (x.rows() >= detail::blocked_rows && x.rows() < w.rows())
      return detail::blocked_multiply_transposed(x, detail::dense_weight(w), y);
    if (x.rows() >= detail::blocked_rows)
      return parallel_ranges(
          x.rows(), grain_for(x.rows(), detail::dense_row_grain), [&](Index first, Index last) {
            detail::blocked_multiply_transposed(x.middleRows(first, last - first),
                                                detail::dense_weight(w),
                                                y.middleRows(first, last - first));
          });
  }
#endif
  if (x.rows() < w.rows()) {  // a wide W: threads own columns of y
    parallel_ranges(w.rows(), grain_for(w.rows(), 16), [&](Index first, Index last) {
      if (x.rows() == 1) {
        y.row(0).segment(first, last - first).noalias() =
            (w.middleRows(first, last - first) * x.row(0).transpose()).transpose();
      } else {
        y.middleCols(first, last - first).noalias() =
            x * w.middleRows(first, last - first).transpose();
      }
    });
  } else {
    parallel_ranges(x.rows(), grain_for(x.rows(), detail::dense_row_grain),
                    [&](Index first, Index last) {
                      y.middleRows(first, last - first).noalias() =
                          x.middleRows(first, last - first) * w.transpose();
                    });
  }
}

/// dx = dy W. dy: [tokens, out], w: [out, in], dx: [tokens, in].
template <class T>
void multiply(const ConstMatrixRef<T>& dy, const RowMatrix<T>& w, MatrixRef<T> dx) {
  require_shape("multiply: dy", dy, dy.rows(), w.rows());
  require_shape("multiply: dx", dx, dy.rows(), w.cols());
#if QLORA_VECTOR_DECODE
  if constexpr (std::is_same_v<T, float>)
    if (dy.rows() >= detail::blocked_rows)
      return detail::blocked_multiply(dy, detail::dense_weight(w), dx);
#endif
  parallel_ranges(w.cols(), grain_for(w.cols(), 16), [&](Index first, Index last) {
    dx.middleCols(first, last - first).noalias() = dy * w.middleCols(first, last - first);
  });
}

/// y += scale x Wᵀ, in parallel over tokens.
template <class T>
void accumulate_transposed(const ConstMatrixRef<T>& x, const RowMatrix<T>& w, MatrixRef<T> y,
                           T scale) {
  require_shape("accumulate_transposed: x", x, x.rows(), w.cols());
  require_shape("accumulate_transposed: y", y, x.rows(), w.rows());
  parallel_ranges(x.rows(), grain_for(x.rows(), detail::dense_row_grain),
                  [&](Index first, Index last) {
#if QLORA_VECTOR_DECODE
                    if constexpr (std::is_same_v<T, float>)
                      return detail::blocked_multiply_transposed(
                          x.middleRows(first, last - first), detail::dense_weight(w),
                          y.middleRows(first, last - first), scale, true);
#endif
                    y.middleRows(first, last - first).noalias() +=
                        scale * x.middleRows(first, last - first) * w.transpose();
                  });
}

/// y += scale x W, in parallel over tokens.
template <class T>
void accumulate(const ConstMatrixRef<T>& x, const RowMatrix<T>& w, MatrixRef<T> y, T scale) {
  require_shape("accumulate: x", x, x.rows(), w.rows());
  require_shape("accumulate: y", y, x.rows(), w.cols());
  parallel_ranges(
      x.rows(), grain_for(x.rows(), detail::dense_row_grain), [&](Index first, Index last) {
#if QLORA_VECTOR_DECODE
        if constexpr (std::is_same_v<T, float>)
          return detail::blocked_multiply(RowMatrix<T>(scale * x.middleRows(first, last - first)),
                                          detail::dense_weight(w),
                                          y.middleRows(first, last - first), true);
#endif
        y.middleRows(first, last - first).noalias() +=
            scale * x.middleRows(first, last - first) * w;
      });
}

/// grad += scale leftᵀ right, the gradient of a weight. left: [tokens, rows], right: [tokens,
/// cols], grad: [rows, cols].
template <class T>
void accumulate_outer(const ConstMatrixRef<T>& left, const ConstMatrixRef<T>& right,
                      RowMatrix<T>& grad, T scale) {
  require_shape("accumulate_outer: right", right, left.rows(), right.cols());
  require_shape("accumulate_outer: grad", grad, left.cols(), right.cols());
#if QLORA_VECTOR_DECODE
  if constexpr (std::is_same_v<T, float>) {
    const RowMatrix<T> turned = scale * left.transpose();
    const auto weight = detail::dense_weight(right);
    if (grad.rows() <= grad.cols()) return detail::blocked_multiply(turned, weight, grad, true);
    return parallel_ranges(grad.rows(), grain_for(grad.rows(), 16), [&](Index first, Index last) {
      detail::blocked_multiply(turned.middleRows(first, last - first), weight,
                               grad.middleRows(first, last - first), true);
    });
  }
#endif
  if (grad.rows() > grad.cols()) {
    parallel_ranges(grad.rows(), grain_for(grad.rows(), 16), [&](Index first, Index last) {
      grad.middleRows(first, last - first).noalias() +=
          scale * left.middleCols(first, last - first).transpose() * right;
    });
  } else {
    parallel_ranges(grad.cols(), grain_for(grad.cols(), 16), [&](Index first, Index last) {
      grad.middleCols(first, last - first).noalias() +=
          scale * left.transpose() * right.middleCols(first, last - first);
    });
  }
}

}  // namespace qlora
