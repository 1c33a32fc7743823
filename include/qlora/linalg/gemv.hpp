/// The product of a few rows with a packed matrix: each row of W is decoded into a buffer in the
/// first-level cache and multiplied at once, so the packed bytes are all that memory has to
/// deliver.
///
///     qlora::gemv_transposed<float>(x, w.view(), y);   // y = x Wᵀ
#pragma once

#include <vector>

#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/quant/quantized_view.hpp"

namespace qlora {

/// Up to this many rows of x the product goes row by row of W; above it through panels (gemm.hpp).
inline constexpr Index gemv_rows = 4;

/// y = x Wᵀ. x: [tokens, in], w: [out, in], y: [tokens, out]. Throws ShapeError when the shapes do
/// not fit.
template <class T, class F>
void gemv_transposed(const ConstMatrixRef<T>& x, const QuantizedView<F>& w, MatrixRef<T> y) {
  require_shape("gemv_transposed: x", x, x.rows(), w.cols());
  require_shape("gemv_transposed: y", y, x.rows(), w.rows());
  parallel_ranges(w.rows(), grain_for(w.rows(), 16), [&](Index first, Index last) {
    Vector<T> decoded(w.cols());
    for (Index row = first; row < last; ++row) {
      w.decode_range(row * w.cols(), w.cols(), decoded.data());
      for (Index token = 0; token < x.rows(); ++token)
        y(token, row) = x.row(token).dot(decoded.transpose());
    }
  });
}

}  // namespace qlora
