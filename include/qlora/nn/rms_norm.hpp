/// Root-mean-square normalization: y = w x / sqrt(mean(x²) + eps). Zhang and Sennrich 2019. The
/// weight is frozen.
///
///     qlora::RmsNorm<> norm{weight, 1e-5f};
///     norm.forward(x, y);                 // x, y: [tokens, width]
///     norm.backward(x, dy, dx);           // overwrites dx
///     norm.add_backward(x, dy, dx);       // adds to it: the gradient that goes past the norm
#pragma once

#include <cmath>

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"

namespace qlora::inline QLORA_ABI {

/// The norm with its weight. Any number of threads may call it at a time.
template <Scalar T = float>
struct RmsNorm {
  ColumnVector<T> weight;  ///< [width]
  T epsilon = T(1e-5);

  /// y, overwritten. Throws ShapeError where x or y is not [tokens, width].
  void forward(const ConstMatrixRef<T>& x, MatrixRef<T> y) const {
    require_shape("RmsNorm: x", x, x.rows(), weight.size());
    require_shape("RmsNorm: y", y, x.rows(), weight.size());
    parallel_ranges(x.rows(), grain_for(x.rows(), 16), [&](Index first, Index last) {
      for (Index row = first; row < last; ++row)
        y.row(row) = (x.row(row) * reciprocal_rms(x.row(row))).cwiseProduct(weight.transpose());
    });
  }

  /// The gradient of x, overwritten; with r = 1/rms and g = w dy: r g - x r³ mean(g x). Throws
  /// ShapeError where a matrix is not [tokens, width].
  void backward(const ConstMatrixRef<T>& x, const ConstMatrixRef<T>& dy, MatrixRef<T> dx) const {
    require_shape("RmsNorm: dx", dx, x.rows(), weight.size());
    dx.setZero();
    add_backward(x, dy, dx);
  }

  /// dx += the gradient of x. On a residual branch dx holds the gradient that goes past the norm.
  void add_backward(const ConstMatrixRef<T>& x, const ConstMatrixRef<T>& dy,
                    MatrixRef<T> dx) const {
    require_shape("RmsNorm: x", x, x.rows(), weight.size());
    require_shape("RmsNorm: dy", dy, x.rows(), weight.size());
    require_shape("RmsNorm: dx", dx, x.rows(), weight.size());
    parallel_ranges(x.rows(), grain_for(x.rows(), 16), [&](Index first, Index last) {
      for (Index row = first; row < last; ++row) {
        const T r = reciprocal_rms(x.row(row));
        const T mean =
            dy.row(row).cwiseProduct(weight.transpose()).dot(x.row(row)) / static_cast<T>(x.cols());
        dx.row(row) +=
            r * dy.row(row).cwiseProduct(weight.transpose()) - (r * r * r * mean) * x.row(row);
      }
    });
  }

 private:
  template <class Row>
  T reciprocal_rms(const Row& x) const {
    return T(1) / std::sqrt(x.squaredNorm() / static_cast<T>(x.size()) + epsilon);
  }
};

}  // namespace qlora::inline QLORA_ABI
