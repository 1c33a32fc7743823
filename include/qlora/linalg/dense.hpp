/// Dense products shaped like a linear layer's, split over threads the way that suits tall and
/// narrow matrices. May be called by several threads at once, each with an output of its own.
///
///     qlora::forward_product<float>(x, a, low);            // low = x Aᵀ
///     qlora::accumulate_outer<float>(dy, x, grad, 1.f);        // grad += dyᵀ x
#pragma once

#include <algorithm>
#include <type_traits>

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/linalg/dispatch.hpp"
#include "qlora/linalg/product_options.hpp"

namespace qlora::inline QLORA_ABI {

namespace linalg_detail {

inline constexpr Index dense_row_grain = 32;
inline constexpr Index few_rows = 64;

/// Shares [0, count) of a product's rows or columns among threads.
template <class Body>
void share(Index count, Index grain, Body&& body) {
  parallel_ranges(count, grain_for(count, grain),
                  [&](Index first, Index last) { body(first, last - first); });
}

/// Options for rows [first, first + count) of a product.
template <Scalar T>
class RowsOfOptions {
 public:
  RowsOfOptions(const ProductOptions<T>& options, Index first, Index count) : options_(options) {
    if (!options.low_rank.present()) return;
    left_ = options.low_rank.left->middleRows(first, count);
    options_.low_rank.left = &left_;
  }
  const ProductOptions<T>& operator()() const { return options_; }

 private:
  ProductOptions<T> options_;
  RowMatrix<T> left_;
};

#if QLORA_HAS_VECTORS
/// Runs `kernel(x, y, options)`, which shares out the columns of a wide y by itself; rows of a tall
/// one are shared out here.
template <class Kernel>
void run_kernel(const ConstMatrixRef<float>& x, MatrixRef<float> y,
                const ProductOptions<float>& options, Kernel&& kernel) {
  if (x.rows() < y.cols()) return kernel(x, y, options);
  share(x.rows(), dense_row_grain, [&](Index first, Index count) {
    const RowsOfOptions<float> own(options, first, count);
    kernel(x.middleRows(first, count), y.middleRows(first, count), own());
  });
}
#endif

/// y += x W by Eigen, threads owning columns of W.
template <class T>
void add_product(const ConstMatrixRef<T>& x, const ConstMatrixRef<T>& w, MatrixRef<T> y) {
  share(w.cols(), 16, [&](Index first, Index count) {
    y.middleCols(first, count).noalias() += x * w.middleCols(first, count);
  });
}

/// y = x W + beta y in float32 or double, for a wide W.
template <class T>
void multiply_wide(const ConstMatrixRef<T>& x, const ConstMatrixRef<T>& w, T beta, MatrixRef<T> y) {
  const ProductOptions<T> options{.beta = beta};
#if QLORA_HAS_VECTORS
  if constexpr (std::is_same_v<T, float>)
    return blocked_backward_product<Float32, float>(x, WeightRef(w), y, options);
#endif
  options.begin(y);
  add_product<T>(x, w, y);
}

}  // namespace linalg_detail

/// dx = dy W, and what `options` adds. dy: [tokens, out], w: [out, in], dx: [tokens, in]. Throws
/// ShapeError when the shapes do not fit.
template <class T>
void backward_product(const ConstMatrixRef<T>& dy, const RowMatrix<T>& w, MatrixRef<T> dx,
                      const ProductOptions<T>& options = {}) {
  require_shape("backward_product: dy", dy, dy.rows(), w.rows());
  require_shape("backward_product: dx", dx, dy.rows(), w.cols());
  options.require_shapes("backward_product", dy.rows(), w.cols(), Side::backward);
#if QLORA_HAS_VECTORS
  if constexpr (std::is_same_v<T, float>) {
    if (dy.rows() > 1)
      return linalg_detail::run_kernel(dy, dx, options,
                                       [&](const auto& some, auto to, const auto& own) {
                                         linalg_detail::backward_product_by_kernels<float>(
                                             some, linalg_detail::WeightRef(w), to, own);
                                       });
  }
#endif
  options.begin(dx);
  if (dy.rows() < w.cols()) {
    linalg_detail::add_product<T>(dy, w, dx);
  } else {
    linalg_detail::share(dy.rows(), linalg_detail::dense_row_grain, [&](Index first, Index count) {
      dx.middleRows(first, count).noalias() += dy.middleRows(first, count) * w;
    });
  }
  options.finish(dx, Side::backward);
}

/// y = x Wᵀ, and what `options` adds. x: [tokens, in], w: [out, in], y: [tokens, out]. Throws
/// ShapeError when the shapes do not fit.
template <class T>
void forward_product(const ConstMatrixRef<T>& x, const RowMatrix<T>& w, MatrixRef<T> y,
                     const ProductOptions<T>& options = {}) {
  require_shape("forward_product: x", x, x.rows(), w.cols());
  require_shape("forward_product: y", y, x.rows(), w.rows());
  options.require_shapes("forward_product", x.rows(), w.rows(), Side::forward);
  // A few rows of W, as an adapter's A has: turning those is less than turning x.
  if (w.rows() <= linalg_detail::few_rows && x.rows() > w.rows() && !options.low_rank.present())
    return backward_product<T>(x, RowMatrix<T>(w.transpose()), y, options);
#if QLORA_HAS_VECTORS
  if constexpr (std::is_same_v<T, float>) {
    if (x.rows() > 1)
      return linalg_detail::run_kernel(x, y, options,
                                       [&](const auto& some, auto to, const auto& own) {
                                         linalg_detail::forward_product_by_kernels<float>(
                                             some, linalg_detail::WeightRef(w), to, own);
                                       });
  }
#endif
  options.begin(y);
  if (x.rows() == 1) {
    linalg_detail::share(w.rows(), 16, [&](Index first, Index count) {
      y.row(0).segment(first, count).noalias() +=
          (w.middleRows(first, count) * x.row(0).transpose()).transpose();
    });
  } else if (x.rows() < w.rows()) {  // a wide W: threads own columns of y
    linalg_detail::share(w.rows(), 16, [&](Index first, Index count) {
      y.middleCols(first, count).noalias() += x * w.middleRows(first, count).transpose();
    });
  } else {
    linalg_detail::share(x.rows(), linalg_detail::dense_row_grain, [&](Index first, Index count) {
      y.middleRows(first, count).noalias() += x.middleRows(first, count) * w.transpose();
    });
  }
  options.finish(y, Side::forward);
}

/// grad += scale leftᵀ right, the gradient of a weight. left: [tokens, rows], right: [tokens,
/// cols], grad: [rows, cols].
template <class T>
void accumulate_outer(const ConstMatrixRef<T>& left, const ConstMatrixRef<T>& right,
                      RowMatrix<T>& grad, T scale) {
  require_shape("accumulate_outer: right", right, left.rows(), right.cols());
  require_shape("accumulate_outer: grad", grad, left.cols(), right.cols());
  // The narrower one is turned: its columns become the rows of a product with the other.
  const bool tall = left.cols() > right.cols();
  const ConstMatrixRef<T>& wide = tall ? left : right;
  const RowMatrix<T> turned = scale * (tall ? right : left).transpose();
  if (tall) {
    RowMatrix<T> transposed(right.cols(), left.cols());
    linalg_detail::multiply_wide<T>(turned, wide, T(0), transposed);
    grad += transposed.transpose();
  } else {
    linalg_detail::multiply_wide<T>(turned, wide, T(1), grad);
  }
}

#if defined(QLORA_COMPILED)  // in the target qlora::compiled
extern template void forward_product<float>(const ConstMatrixRef<float>&, const RowMatrix<float>&,
                                            MatrixRef<float>, const ProductOptions<float>&);
extern template void backward_product<float>(const ConstMatrixRef<float>&, const RowMatrix<float>&,
                                             MatrixRef<float>, const ProductOptions<float>&);
#endif

}  // namespace qlora::inline QLORA_ABI
