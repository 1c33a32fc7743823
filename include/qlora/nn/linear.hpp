/// The frozen linear layer y = x Wᵀ. Its weight may be packed or dense; `AnyLinear` hides which
/// behind one virtual call.
///
///     qlora::AnyLinear<> base(qlora::quantize<formats::nf4_dq>(dense));
///     base.forward(x, y);              // x: [tokens, in], y: [tokens, out]
///     base.backward(dy, dx);           // dx = dy W; the weight has no gradient
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/linalg/dense.hpp"
#include "qlora/linalg/gemm.hpp"
#include "qlora/quant/any_view.hpp"
#include "qlora/quant/quantized_matrix.hpp"

namespace qlora::inline QLORA_ABI {

/// y = x Wᵀ, and what `options` adds. x: [tokens, in], w: [out, in], y: [tokens, out]. Throws
/// ShapeError for other shapes. The same for every kind of weight; safe to call from several threads.
template <Scalar T, class F>
void linear_forward(const ConstMatrixRef<T>& x, const QuantizedMatrix<F>& w, MatrixRef<T> y,
                    const ProductOptions<T>& options = {}) {
  const auto view = w.view();
  forward_product<T>(x, view, y, options);
}
/// The same for a dense weight.
template <Scalar T>
void linear_forward(const ConstMatrixRef<T>& x, const RowMatrix<T>& w, MatrixRef<T> y,
                    const ProductOptions<T>& options = {}) {
  forward_product<T>(x, w, y, options);
}
/// dx = dy W, and what `options` adds. dy: [tokens, out], w: [out, in], dx: [tokens, in]. Throws
/// ShapeError for other shapes. Safe to call from several threads.
template <Scalar T, class F>
void linear_backward(const ConstMatrixRef<T>& dy, const QuantizedMatrix<F>& w, MatrixRef<T> dx,
                     const ProductOptions<T>& options = {}) {
  const auto view = w.view();
  backward_product<T>(dy, view, dx, options);
}
/// The same for a dense weight.
template <Scalar T>
void linear_backward(const ConstMatrixRef<T>& dy, const RowMatrix<T>& w, MatrixRef<T> dx,
                     const ProductOptions<T>& options = {}) {
  backward_product<T>(dy, w, dx, options);
}
/// Rows [first, first + rows) of a weight in dense form; they must exist. Safe to call from several
/// threads.
template <Scalar T, class F>
RowMatrix<T> decode_rows(const QuantizedMatrix<F>& w, Index first, Index rows) {
  RowMatrix<T> decoded(rows, w.cols());
  w.view().decode_range(first * w.cols(), rows * w.cols(), decoded.data());
  return decoded;
}
/// The same of a dense weight.
template <Scalar T>
RowMatrix<T> decode_rows(const RowMatrix<T>& w, Index first, Index rows) {
  return w.middleRows(first, rows);
}
/// The bytes that a weight takes, scales included. Safe to call from several threads.
template <class F>
Index weight_bytes(const QuantizedMatrix<F>& w) {
  return w.bytes();
}
/// The same of a dense weight.
template <Scalar T>
Index weight_bytes(const RowMatrix<T>& w) {
  return w.size() * static_cast<Index>(sizeof(T));
}

/// What AnyLinear holds: a packed matrix, or a dense one of the same numbers.
template <class W, class T>
concept LinearWeight = requires(const W& weight, const ConstMatrixRef<T>& x, MatrixRef<T> y) {
  weight_bytes(weight);
  linear_forward<T>(x, weight, y);
};

/// A frozen weight of any format with its products in T. Any number of threads may call its const
/// members at a time.
template <Scalar T = float>
class AnyLinear {
 public:
  AnyLinear() = default;

  /// Takes a QuantizedMatrix of any format, or a dense RowMatrix<T>. weight: [out, in].
  template <class Weight>
  requires(!std::is_same_v<Weight, AnyLinear>) explicit AnyLinear(Weight weight)
      : weight_(std::make_unique<Model<Weight>>(std::move(weight))) {}

  /// The number of outputs. This and what follows need a weight, which a default AnyLinear has not.
  Index rows() const { return weight_->rows(); }
  /// The number of inputs.
  Index cols() const { return weight_->cols(); }
  /// The bytes that the weight takes, scales included.
  Index bytes() const { return weight_->bytes(); }

  /// Whether it holds a weight.
  explicit operator bool() const { return weight_ != nullptr; }

  /// y = x Wᵀ, and what `options` adds.
  void forward(const ConstMatrixRef<T>& x, MatrixRef<T> y,
               const ProductOptions<T>& options = {}) const {
    weight_->forward(x, y, options);
  }
  /// dx = dy W, and what `options` adds.
  void backward(const ConstMatrixRef<T>& dy, MatrixRef<T> dx,
                const ProductOptions<T>& options = {}) const {
    weight_->backward(dy, dx, options);
  }
  /// The packed weight by reference, which serves as long as this lives; of none for a dense one.
  AnyView view() const& { return weight_->view(); }
  AnyView view() const&& = delete;
  /// Rows [first, first + rows) in dense form.
  RowMatrix<T> rows_of(Index first, Index rows) const { return weight_->rows_of(first, rows); }

 private:
  struct Concept {
    virtual ~Concept() = default;
    virtual Index rows() const = 0;
    virtual Index cols() const = 0;
    virtual Index bytes() const = 0;
    virtual void forward(const ConstMatrixRef<T>& x, MatrixRef<T> y,
                         const ProductOptions<T>& options) const = 0;
    virtual void backward(const ConstMatrixRef<T>& dy, MatrixRef<T> dx,
                          const ProductOptions<T>& options) const = 0;
    virtual AnyView view() const = 0;
    virtual RowMatrix<T> rows_of(Index first, Index rows) const = 0;
  };

  template <class Weight>
  struct Model final : Concept {
    static_assert(
        LinearWeight<Weight, T>,
        "AnyLinear: the weight must be a QuantizedMatrix or a row-major qlora::RowMatrix of the "
        "same numbers; an Eigen::MatrixXf becomes one by qlora::RowMatrixXf(w)");
    explicit Model(Weight w) : weight(std::move(w)) {}
    Index rows() const override { return weight.rows(); }
    Index cols() const override { return weight.cols(); }
    Index bytes() const override { return weight_bytes(weight); }
    void forward(const ConstMatrixRef<T>& x, MatrixRef<T> y,
                 const ProductOptions<T>& options) const override {
      linear_forward<T>(x, weight, y, options);
    }
    void backward(const ConstMatrixRef<T>& dy, MatrixRef<T> dx,
                  const ProductOptions<T>& options) const override {
      linear_backward<T>(dy, weight, dx, options);
    }
    AnyView view() const override {
      if constexpr (requires { weight.view(); }) {
        return weight.view();
      } else {
        return {};
      }
    }
    RowMatrix<T> rows_of(Index first, Index rows) const override {
      return decode_rows<T>(weight, first, rows);
    }
    Weight weight;
  };

  std::unique_ptr<const Concept> weight_;
};

/// The same for a weight of a kind that is known at run time.
template <Scalar T>
void linear_forward(const ConstMatrixRef<T>& x, const AnyLinear<T>& w, MatrixRef<T> y,
                    const ProductOptions<T>& options = {}) {
  w.forward(x, y, options);
}
/// The same for a weight of a kind that is known at run time.
template <Scalar T>
void linear_backward(const ConstMatrixRef<T>& dy, const AnyLinear<T>& w, MatrixRef<T> dx,
                     const ProductOptions<T>& options = {}) {
  w.backward(dy, dx, options);
}
/// The same of a weight of a kind that is known at run time.
template <Scalar T>
RowMatrix<T> decode_rows(const AnyLinear<T>& w, Index first, Index rows) {
  return w.rows_of(first, rows);
}

/// Has rows() and cols(): [out, in].
template <class B>
concept LinearSizes = requires(const B& base) {
  { base.rows() } -> std::convertible_to<Index>;
  { base.cols() } -> std::convertible_to<Index>;
};
/// Has the product y = x Wᵀ, linear_forward.
template <class B, class T>
concept LinearForward = requires(const B& base, const ConstMatrixRef<T>& x, MatrixRef<T> y,
                                 const ProductOptions<T>& options) {
  linear_forward<T>(x, base, y, options);
};
/// Has the product dx = dy W, linear_backward.
template <class B, class T>
concept LinearBackward = requires(const B& base, const ConstMatrixRef<T>& dy, MatrixRef<T> dx,
                                  const ProductOptions<T>& options) {
  linear_backward<T>(dy, base, dx, options);
};

/// What a LoRA layer may stand on: [rows, cols], a forward product and its backward.
template <class B, class T>
concept LinearBase = LinearSizes<B> && LinearForward<B, T> && LinearBackward<B, T>;

}  // namespace qlora::inline QLORA_ABI
