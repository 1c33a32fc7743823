/// A packed matrix in Eigen's expressions: the product decodes as it goes.
///
///     RowMatrixXf y = x * w.transpose();   // x: any dense expression [tokens, in], w: [out, in]
///     dx.noalias() += 2.f * (dy * w);      // dy: [tokens, out]
///     Eigen::VectorXf z = w * v;           // on the left it works too; v: [in]
///
/// The scalar is the dense side's. Products of a temporary packed matrix do not compile: the
/// expression would dangle. Expressions of one matrix may be evaluated by several threads at once.
#pragma once

#include <Eigen/Core>

#include "qlora/core/config.hpp"
#include "qlora/linalg/dense.hpp"
#include "qlora/linalg/gemm.hpp"
#include "qlora/quant/quantized_matrix.hpp"

namespace qlora::inline QLORA_ABI {

/// A packed matrix as one side of an Eigen product: a view, the dense side's scalar, transposed or
/// not.
template <class F, class T, bool Transposed>
struct PackedOperand {
  static_assert(qlora::Scalar<T>,
                "a product with a packed matrix: the dense side must hold float or double");
  using Scalar = T;
  using RealScalar = typename Eigen::NumTraits<T>::Real;
  using StorageIndex = Index;
  using PlainObject = RowMatrix<T>;
  static constexpr int RowsAtCompileTime = Eigen::Dynamic;
  static constexpr int ColsAtCompileTime = Eigen::Dynamic;

  QuantizedView<F> view;

  Index rows() const { return Transposed ? view.cols() : view.rows(); }
  Index cols() const { return Transposed ? view.rows() : view.cols(); }

  /// y = x * operand + beta y, decoded a panel at a time.
  void multiply_left(const ConstMatrixRef<T>& x, MatrixRef<T> y, T beta = 0) const {
    if constexpr (Transposed) {
      forward_product<T>(x, view, y, {.beta = beta});
    } else {
      backward_product<T>(x, view, y, {.beta = beta});
    }
  }

  PackedOperand<F, T, !Transposed> transposed() const { return {view}; }
};

/// The shape tag that keeps Eigen's own dense products away.
struct PackedShape {};

namespace linalg_detail {

template <class Dense, class F, bool Transposed>
using PackedRightProduct =
    Eigen::Product<Dense, PackedOperand<F, typename Dense::Scalar, Transposed>,
                   Eigen::DefaultProduct>;
template <class Dense, class F, bool Transposed>
using PackedLeftProduct = Eigen::Product<PackedOperand<F, typename Dense::Scalar, Transposed>,
                                         Dense, Eigen::DefaultProduct>;

}  // namespace linalg_detail

template <class X, class F, class T, bool Transposed>
Eigen::Product<X, PackedOperand<F, T, Transposed>> operator*(
    const Eigen::MatrixBase<X>& x, const PackedOperand<F, T, Transposed>& w) {
  require<ShapeError>(x.cols() == w.rows(), "x * w: expected x with ", w.rows(), " columns, found ",
                      x.cols());
  return {x.derived(), w};
}

template <class X, class F, class T, bool Transposed>
Eigen::Product<PackedOperand<F, T, Transposed>, X> operator*(
    const PackedOperand<F, T, Transposed>& w, const Eigen::MatrixBase<X>& x) {
  require<ShapeError>(x.rows() == w.cols(), "w * x: expected x with ", w.cols(), " rows, found ",
                      x.rows());
  return {w, x.derived()};
}

template <class X, class F>
linalg_detail::PackedRightProduct<X, F, false> operator*(const Eigen::MatrixBase<X>& x,
                                                         const QuantizedView<F>& w) {
  return x * PackedOperand<F, typename X::Scalar, false>{w};
}
template <class X, class F>
linalg_detail::PackedRightProduct<X, F, true> operator*(const Eigen::MatrixBase<X>& x,
                                                        const TransposedView<F>& w) {
  return x * PackedOperand<F, typename X::Scalar, true>{w.view};
}
template <class X, class F>
linalg_detail::PackedRightProduct<X, F, false> operator*(const Eigen::MatrixBase<X>& x,
                                                         const QuantizedMatrix<F>& w) {
  return x * w.view();
}
template <class X, class F>
linalg_detail::PackedRightProduct<X, F, false> operator*(const Eigen::MatrixBase<X>& x,
                                                         const QuantizedMatrix<F>&& w) = delete;

template <class X, class F>
linalg_detail::PackedLeftProduct<X, F, false> operator*(const QuantizedView<F>& w,
                                                        const Eigen::MatrixBase<X>& x) {
  return PackedOperand<F, typename X::Scalar, false>{w} * x;
}
template <class X, class F>
linalg_detail::PackedLeftProduct<X, F, true> operator*(const TransposedView<F>& w,
                                                       const Eigen::MatrixBase<X>& x) {
  return PackedOperand<F, typename X::Scalar, true>{w.view} * x;
}
template <class X, class F>
linalg_detail::PackedLeftProduct<X, F, false> operator*(const QuantizedMatrix<F>& w,
                                                        const Eigen::MatrixBase<X>& x) {
  return w.view() * x;
}
template <class X, class F>
linalg_detail::PackedLeftProduct<X, F, false> operator*(const QuantizedMatrix<F>&& w,
                                                        const Eigen::MatrixBase<X>& x) = delete;

}  // namespace qlora::inline QLORA_ABI

namespace Eigen::internal {

template <class F, class T, bool Transposed>
struct traits<qlora::PackedOperand<F, T, Transposed>> {
  using Scalar = T;
  using StorageIndex = qlora::Index;
  using StorageKind = Dense;
  using XprKind = MatrixXpr;
  enum {
    RowsAtCompileTime = Dynamic,
    ColsAtCompileTime = Dynamic,
    MaxRowsAtCompileTime = Dynamic,
    MaxColsAtCompileTime = Dynamic,
    Flags = NoPreferredStorageOrderBit
  };
};

template <class F, class T, bool Transposed>
struct evaluator_traits<qlora::PackedOperand<F, T, Transposed>> {
  using Kind = IndexBased;
  using Shape = qlora::PackedShape;
};

template <class X, class F, class T, bool Transposed, class Shape, int Tag>
struct generic_product_impl<X, qlora::PackedOperand<F, T, Transposed>, Shape, qlora::PackedShape,
                            Tag>
    : generic_product_impl_base<X, qlora::PackedOperand<F, T, Transposed>,
                                generic_product_impl<X, qlora::PackedOperand<F, T, Transposed>,
                                                     Shape, qlora::PackedShape, Tag>> {
  using Operand = qlora::PackedOperand<F, T, Transposed>;

  static qlora::RowMatrix<T> product(const X& x, const Operand& w) {
    qlora::RowMatrix<T> y(x.rows(), w.cols());
    w.multiply_left(qlora::RowMatrix<T>(x), y);
    return y;
  }

  /// A row-major destination gets the result without a temporary or a fill with zeros.
  template <class Destination>
  static void evalTo(Destination& destination, const X& x, const Operand& w) {
    if constexpr (std::is_same_v<Destination, qlora::RowMatrix<T>>) {
      if constexpr (std::is_same_v<X, qlora::RowMatrix<T>>) {
        w.multiply_left(x, destination);
      } else {
        w.multiply_left(qlora::RowMatrix<T>(x), destination);
      }
    } else {
      destination = product(x, w);
    }
  }

  template <class Destination>
  static void scaleAndAddTo(Destination& destination, const X& x, const Operand& w,
                            const T& alpha) {
    if constexpr (std::is_same_v<Destination, qlora::RowMatrix<T>>)
      if (alpha == T(1)) return w.multiply_left(qlora::RowMatrix<T>(x), destination, T(1));
    destination += alpha * product(x, w);
  }
};

template <class X, class F, class T, bool Transposed, class Shape, int Tag>
struct generic_product_impl<qlora::PackedOperand<F, T, Transposed>, X, qlora::PackedShape, Shape,
                            Tag>
    : generic_product_impl_base<qlora::PackedOperand<F, T, Transposed>, X,
                                generic_product_impl<qlora::PackedOperand<F, T, Transposed>, X,
                                                     qlora::PackedShape, Shape, Tag>> {
  using Operand = qlora::PackedOperand<F, T, Transposed>;

  /// (W x)ᵀ = xᵀ Wᵀ.
  static qlora::RowMatrix<T> transposed_product(const Operand& w, const X& x) {
    qlora::RowMatrix<T> y(x.cols(), w.rows());
    w.transposed().multiply_left(qlora::RowMatrix<T>(x.transpose()), y);
    return y;
  }

  template <class Destination>
  static void evalTo(Destination& destination, const Operand& w, const X& x) {
    destination = transposed_product(w, x).transpose();
  }

  template <class Destination>
  static void scaleAndAddTo(Destination& destination, const Operand& w, const X& x,
                            const T& alpha) {
    destination += alpha * transposed_product(w, x).transpose();
  }
};

}  // namespace Eigen::internal
