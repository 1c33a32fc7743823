/// Activations as layers, element by element: y = f(x) and dx = f'(x) dy.
///
///     auto [out, saved] = qlora::Gelu<>().forward(x);      // x: [tokens, features]
///     auto grad_x = qlora::Gelu<>().backward(grad_out, saved);
///
/// Relu; Gelu with the error function and GeluTanh, its approximation by tanh: Hendrycks and Gimpel
/// 2016; Silu (swish): Elfwing et al. 2017. Another function is a struct with `value` and `slope`.
/// NaN stays NaN.
#pragma once

#include <cmath>
#include <concepts>
#include <numbers>

#include "qlora/core/config.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/nn/layer.hpp"

namespace qlora::inline QLORA_ABI {

/// max(z, 0); its slope at 0 is 0.
struct ReluFunction {
  /// The function at z.
  template <Scalar T>
  static T value(T z) {
    return z < 0 ? T(0) : z;
  }
  /// Its derivative at z.
  template <Scalar T>
  static T slope(T z) {
    return z <= 0 ? T(0) : T(1);
  }
};

/// z Φ(z), with Φ the normal distribution's share below z.
struct GeluFunction {
  /// The function at z.
  template <Scalar T>
  static T value(T z) {
    return z * below(z);
  }
  /// Its derivative at z.
  template <Scalar T>
  static T slope(T z) {
    const T density = std::exp(T(-0.5) * z * z) / std::sqrt(T(2) * std::numbers::pi_v<T>);
    return below(z) + (density > 0 ? z * density : density);
  }

 private:
  template <Scalar T>
  static T below(T z) {
    return T(0.5) * std::erfc(-z / std::numbers::sqrt2_v<T>);
  }
};

/// z (1 + tanh(u)) / 2 with u = sqrt(2 / π) (z + 0.044715 z³), as GPT-2 has it.
struct GeluTanhFunction {
  /// The function at z.
  template <Scalar T>
  static T value(T z) {
    return T(0.5) * z * (T(1) + bend(z));
  }
  /// Its derivative at z.
  template <Scalar T>
  static T slope(T z) {
    const T t = bend(z), rest = T(1) - t * t;
    const T du = factor<T>() * (T(1) + 3 * cubic<T>() * z * z);
    return T(0.5) * (T(1) + t) + (rest > 0 ? T(0.5) * z * rest * du : T(0));
  }

 private:
  template <Scalar T>
  static constexpr T cubic() {
    return T(0.044715);
  }
  template <Scalar T>
  static T factor() {
    return std::sqrt(T(2) * std::numbers::inv_pi_v<T>);
  }
  template <Scalar T>
  static T bend(T z) {
    return std::tanh(factor<T>() * (z + cubic<T>() * z * z * z));
  }
};

/// z / (1 + exp(-z)).
struct SiluFunction {
  /// The function at z.
  template <Scalar T>
  static T value(T z) {
    return z / (T(1) + std::exp(-z));
  }
  /// Its derivative at z.
  template <Scalar T>
  static T slope(T z) {
    const T s = T(1) / (T(1) + std::exp(-z));
    return s * (T(1) + z * (T(1) - s));
  }
};

/// A function of one number and its derivative there: static `value(z)` and `slope(z)`.
template <class F, class T>
concept ActivationFunction = requires(T z) {
  { F::value(z) } -> std::same_as<T>;
  { F::slope(z) } -> std::same_as<T>;
};

/// A layer that applies a function to each element; it has no parameters. Any number of threads may
/// call it at a time.
template <class Function, Scalar T = float>
class Activation {
  static_assert(ActivationFunction<Function, T>,
                "Activation: the function must have static members value(z) and slope(z) that "
                "return the layer's numbers");

 public:
  using Number = T;
  /// The input, [tokens, features].
  struct Saved {
    RowMatrix<T> x;
  };
  using Forward = LayerOutput<T, Saved>;

  /// y = f(x), overwritten. Throws ShapeError where y has another shape than x.
  void forward(const ConstMatrixRef<T>& x, MatrixRef<T> y) const {
    require_shape("activation: y", y, x.rows(), x.cols());
    for_rows(x, [&](Index row) {
      y.row(row) = x.row(row).unaryExpr([](T z) { return Function::value(z); });
    });
  }
  /// dx = f'(x) dy, overwritten. Throws ShapeError for shapes other than that of x.
  void backward(const ConstMatrixRef<T>& x, const ConstMatrixRef<T>& dy, MatrixRef<T> dx) const {
    require_shape("activation: dy", dy, x.rows(), x.cols());
    require_shape("activation: dx", dx, x.rows(), x.cols());
    for_rows(x, [&](Index row) {
      dx.row(row) =
          x.row(row).unaryExpr([](T z) { return Function::slope(z); }).cwiseProduct(dy.row(row));
    });
  }

  /// The output and a copy of x.
  Forward forward(const ConstMatrixRef<T>& x, DropoutKey = {}) const {
    Forward result{RowMatrix<T>(x.rows(), x.cols()), {x}};
    forward(x, result.out);
    return result;
  }
  /// dx. Throws ShapeError where grad_out has another shape than the input.
  RowMatrix<T> backward(const ConstMatrixRef<T>& grad_out, const Saved& saved) const {
    RowMatrix<T> dx(saved.x.rows(), saved.x.cols());
    backward(saved.x, grad_out, dx);
    return dx;
  }
  ParameterList<T> parameters() const { return {}; }

 private:
  template <class Body>
  static void for_rows(const ConstMatrixRef<T>& x, Body&& body) {
    parallel_ranges(x.rows(), grain_for(x.rows(), 8), [&](Index first, Index last) {
      for (Index row = first; row < last; ++row) body(row);
    });
  }
};

/// max(x, 0).
template <Scalar T = float>
using Relu = Activation<ReluFunction, T>;
/// GELU by the error function.
template <Scalar T = float>
using Gelu = Activation<GeluFunction, T>;
/// GELU approximated by tanh.
template <Scalar T = float>
using GeluTanh = Activation<GeluTanhFunction, T>;
/// SiLU, which is also called swish.
template <Scalar T = float>
using Silu = Activation<SiluFunction, T>;

}  // namespace qlora::inline QLORA_ABI
