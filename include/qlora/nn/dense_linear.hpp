/// A linear layer of which everything is trained: y = x Wᵀ + bias.
///
///     qlora::DenseLinear<> layer(64, 10);                 // from 64 features to 10
///     auto [out, saved] = layer.forward(x);               // x: [tokens, 64]
///     auto grad_x = layer.backward(grad_out, saved);      // adds to weight.grad and bias.grad
///
/// Weights and bias start uniform in ±1/sqrt(in), as torch.nn.Linear's do.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/core/random.hpp"
#include "qlora/nn/layer.hpp"
#include "qlora/nn/linear.hpp"

namespace qlora::inline QLORA_ABI {

/// How a DenseLinear starts.
struct DenseOptions {
  bool bias = true;  ///< whether it has one
  /// Of the first numbers. Without one it follows from the shape and from the layer's place in a Sequential.
  std::optional<std::uint64_t> seed = {};
};

/// A trainable linear layer. One thread may call it at a time, except for const calls, which any
/// number of threads may make together.
template <Scalar T = float>
class DenseLinear {
 public:
  using Number = T;
  /// The input, [tokens, in].
  struct Saved {
    RowMatrix<T> x;
  };
  using Forward = LayerOutput<T, Saved>;

  Parameter<T> weight;  ///< [out, in]
  Parameter<T> bias;    ///< [1, out]; empty without one

  DenseLinear() = default;
  /// Throws ShapeError for sizes below 1.
  DenseLinear(Index in, Index out, const DenseOptions& options = {}) : seed_(options.seed) {
    require<ShapeError>(in > 0 && out > 0, "DenseLinear: expected sizes of 1 or more, found ", in,
                        " and ", out);
    weight = Parameter<T>("", out, in);
    if (options.bias) bias = Parameter<T>("", 1, out);
    start(seed_ ? *seed_ : own_seed(0));
  }

  /// The number of outputs.
  Index rows() const { return weight.value.rows(); }
  /// The number of inputs.
  Index cols() const { return weight.value.cols(); }
  /// Whether it adds a bias.
  bool has_bias() const { return bias.value.size() > 0; }

  /// Starts anew as the layer at this place of a network, unless it was given a seed: layers of one
  /// shape then start from different numbers.
  void take_place(std::uint64_t place) {
    if (!seed_) start(own_seed(place + 1));
  }

  /// y = x Wᵀ + bias, overwritten. x: [tokens, in], y: [tokens, out]. Throws ShapeError for others.
  void forward(const ConstMatrixRef<T>& x, MatrixRef<T> y) const {
    ColumnVector<T> added;
    if (has_bias()) added = bias.value.transpose();
    linear_forward<T>(x, weight.value, y, {.bias = has_bias() ? &added : nullptr});
  }
  /// dx = dy W, overwritten; adds to the gradients. Throws ShapeError where shapes do not fit; then
  /// nothing is added.
  void backward(const ConstMatrixRef<T>& x, const ConstMatrixRef<T>& dy, MatrixRef<T> dx) {
    add_gradients(x, dy);
    linear_backward<T>(dy, weight.value, dx);
  }
  /// The gradients of weight and bias alone, where nobody needs dx.
  void add_gradients(const ConstMatrixRef<T>& x, const ConstMatrixRef<T>& dy) {
    require_shape("DenseLinear: x", x, dy.rows(), cols());
    require_shape("DenseLinear: dy", dy, x.rows(), rows());
    accumulate_outer<T>(dy, x, weight.grad, T(1));
    if (has_bias()) bias.grad += dy.colwise().sum();
  }

  /// The output and a copy of x.
  Forward forward(const ConstMatrixRef<T>& x, DropoutKey = {}) const {
    Forward result{RowMatrix<T>(x.rows(), rows()), {x}};
    forward(x, result.out);
    return result;
  }
  /// dx; adds to the gradients. grad_out: [tokens, out].
  RowMatrix<T> backward(const ConstMatrixRef<T>& grad_out, const Saved& saved) {
    RowMatrix<T> dx(saved.x.rows(), cols());
    backward(saved.x, grad_out, dx);
    return dx;
  }

  /// Weight and, if there is one, bias.
  ParameterList<T> parameters() {
    return has_bias() ? ParameterList<T>{&weight, &bias} : ParameterList<T>{&weight};
  }

 private:
  std::uint64_t own_seed(std::uint64_t place) const {
    const auto shape =
        derive_key(static_cast<std::uint64_t>(rows()), static_cast<std::uint64_t>(cols()));
    return derive_key(shape, place);
  }
  void start(std::uint64_t seed) {
    const T bound = T(1) / std::sqrt(static_cast<T>(cols()));
    const auto draw = [&](RowMatrix<T>& numbers, std::uint64_t key) {
      for (Index i = 0; i < numbers.size(); ++i)
        numbers.data()[i] =
            bound * (T(2) * static_cast<T>(uniform01(key, static_cast<std::uint64_t>(i))) - T(1));
    };
    draw(weight.value, derive_key(seed, 0));
    draw(bias.value, derive_key(seed, 1));
  }

  std::optional<std::uint64_t> seed_;
};

}  // namespace qlora::inline QLORA_ABI
