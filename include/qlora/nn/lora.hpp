/// Low-rank adaptation of a frozen linear layer: y = x Wᵀ + s dropout(x) Aᵀ Bᵀ with s = alpha /
/// rank, or alpha / sqrt(rank) when rank-stabilized, and a bias where there is one. Hu et al. 2021;
/// on a 4-bit base: Dettmers et al. 2023, equation 5.
///
///     qlora::LoraLinear layer(qlora::quantize<formats::nf4_dq>(dense), {.rank = 16, .dropout = 0.05f});
///     auto [out, saved] = layer.forward(x, {.training = true, .key = step});
///     auto grad_x = layer.backward(grad_out, saved);
///
/// The last line fills layer.a.grad and layer.b.grad; the base has no gradient.
///
/// A: [rank, in], B: [out, rank]. A starts uniform in ±1/sqrt(in), B at zero, so that training
/// starts at the base model.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/core/parameter.hpp"
#include "qlora/core/random.hpp"
#include "qlora/nn/dropout.hpp"
#include "qlora/nn/layer.hpp"
#include "qlora/nn/linear.hpp"
#include "qlora/nn/lora_options.hpp"

namespace qlora::inline QLORA_ABI {

namespace nn_detail {

/// A number that differs between layers of different weights, and is the same wherever a layer is
/// made: from the shape and some rows.
template <Scalar T, class Base>
std::uint64_t number_of_base(const Base& base) {
  std::uint64_t number =
      derive_key(static_cast<std::uint64_t>(base.rows()), static_cast<std::uint64_t>(base.cols()));
  if constexpr (requires { decode_rows<T>(base, Index(), Index()); }) {
    if (base.rows() == 0) return number;
    for (const Index row : {Index(0), base.rows() / 2, base.rows() - 1}) {
      const RowMatrix<T> weights = decode_rows<T>(base, row, 1);
      for (Index i = 0; i < weights.size(); ++i)
        number =
            derive_key(number, std::bit_cast<std::uint32_t>(static_cast<float>(weights.data()[i])));
    }
  }
  return number;
}

}  // namespace nn_detail

/// A linear layer with an adapter. One thread may call it at a time, except for const calls, which
/// any number of threads may make together.
template <class Base, Scalar T = float>
class LoraLinear {
  static_assert(LinearSizes<Base>,
                "LoraLinear: the base must be a QuantizedMatrix, a RowMatrix or an AnyLinear, or "
                "have rows() and cols()");
  static_assert(!LinearSizes<Base> || LinearForward<Base, T>,
                "LoraLinear: the base must have a linear_forward(x, base, y, options) for the "
                "layer's numbers");
  static_assert(!LinearForward<Base, T> || LinearBackward<Base, T>,
                "LoraLinear: the base must have a linear_backward(dy, base, dx, options) for the "
                "layer's numbers");

 public:
  using Number = T;
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
  using Forward = LayerOutput<T, Saved>;

  Parameter<T> a;  ///< [rank, in]
  Parameter<T> b;  ///< [out, rank]
  /// [1, out], or empty: none. It is frozen unless LoraOptions::train_bias says otherwise.
  Parameter<T> bias;
  Compute compute = Compute::float32;  ///< of the base's products

  LoraLinear() = default;
  /// base: [out, in]. Throws OptionError for a negative rank or a dropout outside [0, 1).
  explicit LoraLinear(Base base, const LoraOptions& options = {}) : base_(std::move(base)) {
    adapt(options);
  }

  /// The number of outputs.
  Index rows() const { return base_.rows(); }
  /// The number of inputs.
  Index cols() const { return base_.cols(); }
  /// The adapter's rank; 0 without an adapter.
  Index rank() const { return a.value.rows(); }
  /// Whether it has an adapter.
  bool adapted() const { return rank() > 0; }
  /// The factor s of s B A: alpha / rank, or alpha / sqrt(rank) for rank-stabilized LoRA.
  T scaling() const { return scaling_; }
  /// The probability with which a number of x is left out of the adapter's input.
  float dropout() const { return dropout_; }
  /// Whether it adds a bias.
  bool has_bias() const { return bias.value.size() > 0; }
  /// The frozen layer below the adapter.
  const Base& base() const& { return base_; }
  const Base& base() const&& = delete;  // it would be gone

  /// Sets the base's bias, [out]. Throws ShapeError for another size.
  void set_bias(const ColumnVector<T>& numbers) {
    require_shape("LoRA: bias", numbers, rows(), 1);
    bias = Parameter<T>(bias.name, 1, rows());
    bias.value = numbers.transpose();
  }

  /// Gives the layer a fresh adapter. Its bias stays. Throws as the constructor does.
  void adapt(const LoraOptions& options) {
    require<OptionError>(options.rank >= 0, "LoRA: expected a rank of 0 or more, found ",
                         options.rank);
    require<OptionError>(options.dropout >= 0 && options.dropout < 1,
                         "LoRA: expected a dropout in [0, 1), found ", options.dropout);
    dropout_ = options.dropout;
    scaling_ = options.scaling<T>();
    a = Parameter<T>(a.name, options.rank, cols());
    b = Parameter<T>(b.name, rows(), options.rank);
    train_bias_ = options.train_bias;
    if (train_bias_ && !has_bias()) bias = Parameter<T>(bias.name, 1, rows());
    own_ = {};
    if (!options.seed && adapted()) own_ = nn_detail::number_of_base<T>(base_);
    start(options.seed ? *options.seed : own_.value_or(0));
  }

  /// Starts the adapter anew as that of the layer at this place of a network, unless it was given a
  /// seed.
  void take_place(std::uint64_t place) {
    if (!own_) return;
    own_ = derive_key(nn_detail::number_of_base<T>(base_), place);
    start(*own_);
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
    // Layers without a given seed drop by streams of their own.
    if (own_) dropout.key = derive_key(dropout.key, *own_);
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
    ColumnVector<T> added;
    if (has_bias()) added = bias.value.transpose();
    linear_forward<T>(x, base_, out,
                      {.bias = has_bias() ? &added : nullptr,
                       .low_rank = {&kept.low, &b.value, scaling_},
                       .compute = compute});
  }

  /// dx is overwritten. Throws ShapeError where x, `kept` and grad_out do not belong together; then
  /// nothing is added to the gradients.
  void backward(const ConstMatrixRef<T>& x, const Kept& kept, const ConstMatrixRef<T>& grad_out,
                MatrixRef<T> dx) {
    require_shape("LoRA: x", x, grad_out.rows(), cols());
    require_shape("LoRA: grad_out", grad_out, x.rows(), rows());
    require_shape("LoRA: what forward kept", kept.low, grad_out.rows(), rank());
    if (train_bias_) bias.grad += grad_out.colwise().sum();
    if (!adapted()) return linear_backward<T>(grad_out, base_, dx, {.compute = compute});
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

  /// The parameters in the order A, B, bias; without an adapter no A and B, and the bias only where
  /// it is trained.
  ParameterList<T> parameters() {
    ParameterList<T> list;
    if (adapted()) list = {&a, &b};
    if (train_bias_) list.emplace_back(&bias);
    return list;
  }

 private:
  bool drops(const DropoutKey& dropout) const { return dropout.training && dropout_ > 0; }

  void start(std::uint64_t seed) {
    const T bound = T(1) / std::sqrt(static_cast<T>(cols()));
    for (Index i = 0; i < a.value.size(); ++i)
      a.value.data()[i] =
          bound * (T(2) * static_cast<T>(uniform01(seed, static_cast<std::uint64_t>(i))) - T(1));
  }

  Base base_;
  T scaling_ = 0;
  float dropout_ = 0;
  bool train_bias_ = false;
  std::optional<std::uint64_t> own_;  // the seed that follows from the weights, if none was given
};

template <class F>
LoraLinear(QuantizedMatrix<F>, LoraOptions) -> LoraLinear<QuantizedMatrix<F>, float>;
template <Scalar T>
LoraLinear(RowMatrix<T>, LoraOptions) -> LoraLinear<RowMatrix<T>, T>;

}  // namespace qlora::inline QLORA_ABI
