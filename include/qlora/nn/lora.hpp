/// Low-rank adaptation of a frozen linear layer: y = x Wᵀ + s dropout(x) Aᵀ Bᵀ with s = alpha /
/// rank, or alpha / sqrt(rank) when rank-stabilized. Hu et al. 2021; on a 4-bit base: Dettmers et
/// al. 2023, equation 5.
///
///     qlora::LoraLinear layer(qlora::quantize<Nf4Dq>(dense), {.rank = 16, .alpha = 32, .dropout =
///     0.05f}); auto [out, saved] = layer.forward(x); auto grad_x = layer.backward(grad_out,
///     saved);   // fills layer.a.grad and layer.b.grad; the base has none
///
/// A: [rank, in], B: [out, rank]. A starts uniform in ±1/sqrt(in), B at zero, so that training
/// starts at the base model.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

#include "qlora/core/random.hpp"
#include "qlora/nn/linear.hpp"
#include "qlora/nn/lora_options.hpp"
#include "qlora/nn/parameter.hpp"

namespace qlora {

/// x with each element dropped with probability p and the others divided by 1 - p; the choice at
/// (row, column) depends on `key` only, so the backward pass makes it again instead of storing it.
template <Scalar T>
void apply_dropout(const ConstMatrixRef<T>& x, float p, std::uint64_t key, RowMatrix<T>& out) {
  out.resize(x.rows(), x.cols());
  const T keep_scale = T(1) / (T(1) - static_cast<T>(p));
  const auto threshold = static_cast<std::uint32_t>(static_cast<double>(p) * 4294967296.0);
  parallel_ranges(x.rows(), grain_for(x.rows(), 8), [&](Index first, Index last) {
    for (Index row = first; row < last; ++row) {
      const std::uint64_t stream = derive_key(key, static_cast<std::uint64_t>(row));
      for (Index col = 0; col < x.cols(); col += 4) {
        const PhiloxBlock block = philox(stream, static_cast<std::uint64_t>(col / 4));
        const Index end = std::min<Index>(4, x.cols() - col);
        for (Index i = 0; i < end; ++i)
          out(row, col + i) = block.word[i] < threshold ? T(0) : x(row, col + i) * keep_scale;
      }
    }
  });
}

template <class Base, Scalar T = float>
class LoraLinear {
  static_assert(LinearBase<Base, T>,
                "LoraLinear: the base must be a QuantizedMatrix, a RowMatrix or an AnyLinear");

 public:
  /// What backward needs: the input, its product with A, and the dropout's key.
  struct Saved {
    RowMatrix<T> x, low;
    std::uint64_t key = 0;
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

  /// x: [tokens, in]. Dropout acts only when `training`; `key` chooses what it drops.
  Forward forward(const ConstMatrixRef<T>& x, bool training = false, std::uint64_t key = 0) const {
    Forward result{RowMatrix<T>(x.rows(), rows()), {x, {}, key}};
    forward(x, result.out, result.saved.low, training, key);
    return result;
  }

  /// dx; adds to a.grad and b.grad. grad_out: [tokens, out].
  RowMatrix<T> backward(const ConstMatrixRef<T>& grad_out, const Saved& saved,
                        bool training = false) {
    RowMatrix<T> dx(saved.x.rows(), cols());
    backward(saved.x, saved.low, grad_out, dx, training, saved.key);
    return dx;
  }

  /// The same without copying x: the caller keeps x and `low` [tokens, rank] for backward.
  void forward(const ConstMatrixRef<T>& x, MatrixRef<T> out, RowMatrix<T>& low, bool training,
               std::uint64_t key) const {
    low.resize(x.rows(), rank());
    if (adapted()) {
      if (training && dropout_ > 0) {
        RowMatrix<T> dropped;
        apply_dropout<T>(x, dropout_, key, dropped);
        multiply_transposed<T>(dropped, a.value, low);
      } else {
        multiply_transposed<T>(x, a.value, low);
      }
    }
    linear_forward<T>(x, base_, out, {.low_rank = {&low, &b.value, scaling_}, .compute = compute});
  }

  void backward(const ConstMatrixRef<T>& x, const RowMatrix<T>& low,
                const ConstMatrixRef<T>& grad_out, MatrixRef<T> dx, bool training,
                std::uint64_t key) {
    if (!adapted()) return linear_backward<T>(grad_out, base_, dx, {.compute = compute});
    accumulate_outer<T>(grad_out, low, b.grad, scaling_);
    RowMatrix<T> dlow(x.rows(), rank());
    multiply<T>(grad_out, b.value, dlow);
    if (training && dropout_ > 0) {
      RowMatrix<T> dropped, through(x.rows(), cols());
      apply_dropout<T>(x, dropout_, key, dropped);
      accumulate_outer<T>(dlow, dropped, a.grad, scaling_);
      multiply<T>(dlow, a.value, through);
      apply_dropout<T>(through, dropout_, key, dropped);
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
  Base base_;
  T scaling_ = 0;
  float dropout_ = 0;
};

template <class F>
LoraLinear(QuantizedMatrix<F>, LoraOptions) -> LoraLinear<QuantizedMatrix<F>, float>;
template <Scalar T>
LoraLinear(RowMatrix<T>, LoraOptions) -> LoraLinear<RowMatrix<T>, T>;

}  // namespace qlora
