/// Low-rank adaptation of a frozen linear layer: y = x Wᵀ + s dropout(x) Aᵀ Bᵀ with s = alpha /
/// rank, or alpha / sqrt(rank) when rank-stabilized. Hu et al. 2021; on a 4-bit base: Dettmers et
/// al. 2023, equation 5.
///
///     qlora::LoraLinear layer(qlora::quantize<Nf4Dq>(dense), {.rank = 16, .dropout = 0.05f});
///     auto [out, saved] = layer.forward(x, {.training = true, .key = step});
///     auto grad_x = layer.backward(grad_out, saved);
///
/// The last line fills layer.a.grad and layer.b.grad; the base has no gradient.
///
/// A: [rank, in], B: [out, rank]. A starts uniform in ±1/sqrt(in), B at zero, so that training
/// starts at the base model.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

#include "qlora/core/parameter.hpp"
#include "qlora/core/random.hpp"
#include "qlora/nn/dropout.hpp"
#include "qlora/nn/linear.hpp"
#include "qlora/nn/lora_options.hpp"

namespace qlora {

/// A linear layer with an adapter. One thread may call it at a time, except for const calls, which
/// any number of threads may make together.
template <class Base, Scalar T = float>
class LoraLinear {
  static_assert(LinearBase<Base, T>,
                "LoraLinear: the base must be a QuantizedMatrix, a RowMatrix or an AnyLinear");

 public:
  /// What backward needs besides the input: the product with A, [tokens, rank], and the dropout
  /// that acted, so that backward drops what forward dropped.
  struct Kept {
    RowMatrix<T> low;
    DropoutKey dropout;
  };
  /// The same with the input, [tokens, in].
  struct Saved {
    RowMatrix<T> x;
    Kept kept;
  };
  struct Forward {
    RowMatrix<T> out;
    Saved saved;
  };

  Parameter<T> a, b;
  Compute compute = Compute::float32;  ///< of the base's products

  LoraLinear() = default;
  /// Throws FormatError for a negative rank or a dropout outside [0, 1).
  explicit LoraLinear(Base base, const LoraOptions& options = {}) : base_(std::move(base)) {
    adapt(options);
  }

  Index rows() const { return base_.rows(); }
  Index cols() const { return base_.cols(); }
  Index rank() const { return a.value.rows(); }
  bool adapted() const { return rank() > 0; }
  T scaling() const { return scaling_; }
  float dropout() const { return dropout_; }
  const Base& base() const { return base_; }

  /// Gives the layer a fresh adapter.
  void adapt(const LoraOptions& options) {
    require<FormatError>(options.rank >= 0, "LoRA: expected a rank of 0 or more, found ",
                         options.rank);
    require<FormatError>(options.dropout >= 0 && options.dropout < 1,
                         "LoRA: expected a dropout in [0, 1), found ", options.dropout);
    dropout_ = options.dropout;
    scaling_ = options.scaling<T>();
    a = Parameter<T>(a.name, options.rank, cols());
    b = Parameter<T>(b.name, rows(), options.rank);
    const T bound = T(1) / std::sqrt(static_cast<T>(cols()));
    for (Index i = 0; i < a.value.size(); ++i)
      a.value.data()[i] =
          bound *
          (T(2) * static_cast<T>(uniform01(options.seed, static_cast<std::uint64_t>(i))) - T(1));
  }

  /// x: [tokens, in]. `dropout` says whether dropout acts and what it drops; backward remembers it.
  Forward forward(const ConstMatrixRef<T>& x, DropoutKey dropout = {}) const {
    Forward result{RowMatrix<T>(x.rows(), rows()), {x, {}}};
    forward(x, result.out, result.saved.kept, dropout);
    return result;
  }

  /// dx; adds to a.grad and b.grad. grad_out: [tokens, out].
  RowMatrix<T> backward(const ConstMatrixRef<T>& grad_out, const Saved& saved) {
    RowMatrix<T> dx(saved.x.rows(), cols());
    backward(saved.x, saved.kept, grad_out, dx);
    return dx;
  }

  /// The same without copying x: the caller keeps x and `kept` for backward.
  void forward(const ConstMatrixRef<T>& x, MatrixRef<T> out, Kept& kept,
               DropoutKey dropout = {}) const {
    kept.dropout = dropout;
    kept.low.resize(x.rows(), rank());
    if (adapted()) {
      if (drops(dropout)) {
        RowMatrix<T> dropped;
        apply_dropout<T>(x, dropout_, dropout.key, dropped);
        forward_product<T>(dropped, a.value, kept.low);
      } else {
        forward_product<T>(x, a.value, kept.low);
      }
    }
    linear_forward<T>(x, base_, out,
                      {.low_rank = {&kept.low, &b.value, scaling_}, .compute = compute});
  }

  /// dx is overwritten. Throws ShapeError where x, `kept` and grad_out do not belong together.
  void backward(const ConstMatrixRef<T>& x, const Kept& kept, const ConstMatrixRef<T>& grad_out,
                MatrixRef<T> dx) {
    if (!adapted()) return linear_backward<T>(grad_out, base_, dx, {.compute = compute});
    require_shape("LoRA: x", x, grad_out.rows(), cols());
    require_shape("LoRA: what forward kept", kept.low, grad_out.rows(), rank());
    accumulate_outer<T>(grad_out, kept.low, b.grad, scaling_);
    RowMatrix<T> dlow(x.rows(), rank());
    backward_product<T>(grad_out, b.value, dlow);
    if (drops(kept.dropout)) {
      RowMatrix<T> dropped, through(x.rows(), cols());
      apply_dropout<T>(x, dropout_, kept.dropout.key, dropped);
      accumulate_outer<T>(dlow, dropped, a.grad, scaling_);
      backward_product<T>(dlow, a.value, through);
      apply_dropout<T>(through, dropout_, kept.dropout.key, dropped);
      linear_backward<T>(grad_out, base_, dx, {.compute = compute});
      dx += scaling_ * dropped;
    } else {
      accumulate_outer<T>(dlow, x, a.grad, scaling_);
      linear_backward<T>(grad_out, base_, dx,
                         {.low_rank = {&dlow, &a.value, scaling_}, .compute = compute});
    }
  }

  /// The parameters in the order A, B; none without an adapter.
  ParameterList<T> parameters() {
    return adapted() ? ParameterList<T>{&a, &b} : ParameterList<T>{};
  }

 private:
  bool drops(const DropoutKey& dropout) const { return dropout.training && dropout_ > 0; }

  Base base_;
  T scaling_ = 0;
  float dropout_ = 0;
};

template <class F>
LoraLinear(QuantizedMatrix<F>, LoraOptions) -> LoraLinear<QuantizedMatrix<F>, float>;
template <Scalar T>
LoraLinear(RowMatrix<T>, LoraOptions) -> LoraLinear<RowMatrix<T>, T>;

}  // namespace qlora
