/// What a layer of a network is, so that a user's own stands beside the library's.
///
///     struct Doubling {
///       using Number = float;
///       struct Saved {};
///       using Forward = qlora::LayerOutput<float, Saved>;
///       using In = qlora::ConstMatrixRef<float>;
///       Forward forward(const In& x, qlora::DropoutKey = {}) const { return {2 * x, {}}; }
///       qlora::RowMatrixXf backward(const In& dy, const Saved&) { return 2 * dy; }
///       qlora::ParameterList<float> parameters() { return {}; }
///     };
///     static_assert(qlora::Layer<Doubling>);
///
/// Rules that all layers keep. `forward` is const and returns the output with all that `backward`
/// needs, the choices of dropout included, so that backward is never told them again. `backward`
/// returns the gradient of the input and adds to the gradients of the parameters. Most layers have a
/// second pair of functions that spares copies: the caller keeps x and gives the output, a MatrixRef
/// of its final shape, which is checked and overwritten. What adds to its output says so in its name.
#pragma once

#include <concepts>

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parameter.hpp"
#include "qlora/nn/dropout.hpp"

namespace qlora::inline QLORA_ABI {

/// What forward returns: the output [tokens, out], and what backward needs.
template <Scalar T, class SavedType>
struct LayerOutput {
  RowMatrix<T> out;
  SavedType saved;
};

/// Has the type of its numbers, Number, and the type Saved.
template <class L>
concept LayerTypes = requires {
  requires Scalar<typename L::Number>;
  typename L::Saved;
};

/// `forward(x, dropout)` of a const layer returns {out, saved}.
template <class L>
concept LayerForward = LayerTypes<L> &&
    requires(const L& layer, const ConstMatrixRef<typename L::Number>& x, DropoutKey dropout) {
  { layer.forward(x, dropout).out } -> std::convertible_to<RowMatrix<typename L::Number>>;
  { layer.forward(x, dropout).saved } -> std::convertible_to<typename L::Saved>;
};

/// `backward(dout, saved)` returns dx.
template <class L>
concept LayerBackward = LayerTypes<L> &&
    requires(L& layer, const ConstMatrixRef<typename L::Number>& dout,
             const typename L::Saved& saved) {
  { layer.backward(dout, saved) } -> std::convertible_to<RowMatrix<typename L::Number>>;
};

/// `parameters()` returns a ParameterList, which may be empty.
template <class L>
concept LayerParameters = LayerTypes<L> && requires(L& layer) {
  { layer.parameters() } -> std::convertible_to<ParameterList<typename L::Number>>;
};

/// A layer: all of the above.
template <class L>
concept Layer = LayerForward<L> && LayerBackward<L> && LayerParameters<L>;

}  // namespace qlora::inline QLORA_ABI
