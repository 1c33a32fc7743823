/// Layers one after the other as one layer: forward, backward and parameters without plumbing.
///
///     qlora::Sequential net(qlora::LoraLinear(qlora::quantize<qlora::formats::nf4_dq>(dense), {.rank = 8}),
///                           qlora::Gelu<>(), qlora::DenseLinear<>(dense.rows(), 4));
///     const auto [logits, saved] = net.forward(x, {.training = true, .key = i});
///     const auto loss = qlora::logits_cross_entropy(logits, targets);
///     net.backward(loss.gradient, saved);
///     qlora::AdamW<> optimizer;
///     optimizer.step(net.parameters());
///
/// Every layer drops by a key of its own, and layers without a seed start by their place. The
/// network keeps its layers; moving it leaves lists of its parameters valid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/core/random.hpp"
#include "qlora/nn/layer.hpp"

namespace qlora::inline QLORA_ABI {

namespace nn_detail {

template <class L>
struct RequireLayer {
  static_assert(LayerTypes<L>,
                "Sequential: a layer must name its numbers, `using Number = float;`, and what "
                "backward needs, `struct Saved`");
  static_assert(
      !LayerTypes<L> || LayerForward<L>,
      "Sequential: a layer must have forward(x, dropout) const that returns {out, saved}");
  static_assert(!LayerTypes<L> || LayerBackward<L>,
                "Sequential: a layer must have backward(grad_out, saved) that returns the gradient "
                "of its input");
  static_assert(!LayerTypes<L> || LayerParameters<L>,
                "Sequential: a layer must have parameters() that returns a ParameterList");
  static constexpr bool value = Layer<L>;
};

}  // namespace nn_detail

/// A network of layers that all compute in the numbers of the first. One thread may call it at a
/// time, except for const calls, which any number of threads may make together.
template <class First, class... Rest>
class Sequential {
  static_assert((nn_detail::RequireLayer<First>::value && ... &&
                 nn_detail::RequireLayer<Rest>::value));
  static_assert((std::is_same_v<typename First::Number, typename Rest::Number> && ...),
                "Sequential: all layers must compute in the same numbers, float or double");
  using T = typename First::Number;
  static constexpr std::size_t count = 1 + sizeof...(Rest);

 public:
  using Number = T;
  /// What each layer's backward needs.
  struct Saved {
    std::tuple<typename First::Saved, typename Rest::Saved...> layers;
  };
  using Forward = LayerOutput<T, Saved>;

  /// Takes the layers in the order in which x goes through them.
  explicit Sequential(First first, Rest... rest) : layers_(std::move(first), std::move(rest)...) {
    for_layers([](auto& layer, std::uint64_t place) {
      if constexpr (requires { layer.take_place(place); }) layer.take_place(place);
    });
  }

  /// The layer at a place, from 0.
  template <std::size_t place>
  auto& layer() & {
    return std::get<place>(layers_);
  }
  template <std::size_t place>
  const auto& layer() const& {
    return std::get<place>(layers_);
  }
  template <std::size_t place>
  const auto& layer() const&& = delete;  // it would be gone

  /// x: [tokens, in of the first layer]. Throws ShapeError where a layer does not fit what it gets.
  Forward forward(const ConstMatrixRef<T>& x, DropoutKey dropout = {}) const {
    Forward result;
    forward_from<0>(x, dropout, result);
    return result;
  }

  /// The gradient of x; adds to the parameters' gradients.
  RowMatrix<T> backward(const ConstMatrixRef<T>& grad_out, const Saved& saved) {
    return backward_from<count - 1>(grad_out, saved);
  }

  /// Of all layers in order.
  ParameterList<T> parameters() {
    ParameterList<T> all;
    for_layers([&](auto& layer, std::uint64_t) {
      for (auto& parameter : layer.parameters()) all.push_back(std::move(parameter));
    });
    return all;
  }

 private:
  template <class Body>
  void for_layers(Body&& body) {
    std::apply(
        [&](auto&... layers) {
          std::uint64_t place = 0;
          (body(layers, place++), ...);
        },
        layers_);
  }

  template <std::size_t place>
  void forward_from(const ConstMatrixRef<T>& x, DropoutKey dropout, Forward& result) const {
    auto part = std::get<place>(layers_).forward(
        x, DropoutKey{dropout.training, derive_key(dropout.key, place)});
    std::get<place>(result.saved.layers) = std::move(part.saved);
    if constexpr (place + 1 < count) {
      forward_from<place + 1>(part.out, dropout, result);
    } else {
      result.out = std::move(part.out);
    }
  }

  template <std::size_t place>
  RowMatrix<T> backward_from(const ConstMatrixRef<T>& grad_out, const Saved& saved) {
    RowMatrix<T> dx = std::get<place>(layers_).backward(grad_out, std::get<place>(saved.layers));
    if constexpr (place == 0) {
      return dx;
    } else {
      return backward_from<place - 1>(dx, saved);
    }
  }

  std::tuple<First, Rest...> layers_;
};

}  // namespace qlora::inline QLORA_ABI
