/// Gated activations h = f(gate) up: SwiGLU with f = silu, silu(z) = z / (1 + exp(-z)), and GeGLU
/// with f = gelu by its approximation with tanh. Shazeer 2020. As in every layer, the caller sizes
/// the outputs; they are checked and overwritten.
///
///     qlora::RowMatrixXf gate(2, 3), up(2, 3), out(2, 3);
///     qlora::gated_forward(qlora::GateFunction::gelu_tanh, gate, up, out);
#pragma once

#include <cmath>

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/nn/activation.hpp"
#include "qlora/nn/gate_function.hpp"

namespace qlora::inline QLORA_ABI {

/// out = silu(gate) * up, element by element; all [tokens, hidden]. Throws ShapeError for others.
template <Scalar T>
void swiglu_forward(const RowMatrix<T>& gate, const RowMatrix<T>& up, RowMatrix<T>& out) {
  require_shape("swiglu: up", up, gate.rows(), gate.cols());
  require_shape("swiglu: out", out, gate.rows(), gate.cols());
  parallel_ranges(gate.rows(), grain_for(gate.rows(), 8), [&](Index first, Index last) {
    const auto z = gate.middleRows(first, last - first).array();
    out.middleRows(first, last - first).array() =
        z / (T(1) + (-z).exp()) * up.middleRows(first, last - first).array();
  });
}

/// The gradients of gate and up from that of the output; they overwrite dgate and dup. All are
/// [tokens, hidden]. Throws ShapeError for others.
template <Scalar T>
void swiglu_backward(const RowMatrix<T>& gate, const RowMatrix<T>& up, const RowMatrix<T>& dout,
                     RowMatrix<T>& dgate, RowMatrix<T>& dup) {
  require_shape("swiglu: up", up, gate.rows(), gate.cols());
  require_shape("swiglu: dout", dout, gate.rows(), gate.cols());
  require_shape("swiglu: dgate", dgate, gate.rows(), gate.cols());
  require_shape("swiglu: dup", dup, gate.rows(), gate.cols());
  parallel_ranges(gate.rows(), grain_for(gate.rows(), 1), [&](Index first, Index last) {
    Eigen::Array<T, 1, Eigen::Dynamic> s(gate.cols());
    for (Index row = first; row < last; ++row) {
      const auto z = gate.row(row).array();
      s = T(1) / (T(1) + (-z).exp());
      dup.row(row).array() = dout.row(row).array() * z * s;
      dgate.row(row).array() =
          dout.row(row).array() * up.row(row).array() * s * (T(1) + z * (T(1) - s));
    }
  });
}

/// out = f(gate) * up for a gate function. Throws as swiglu_forward does.
template <Scalar T>
void gated_forward(GateFunction function, const RowMatrix<T>& gate, const RowMatrix<T>& up,
                   RowMatrix<T>& out) {
  if (function == GateFunction::silu) return swiglu_forward(gate, up, out);
  require_shape("gate: up", up, gate.rows(), gate.cols());
  require_shape("gate: out", out, gate.rows(), gate.cols());
  parallel_ranges(gate.rows(), grain_for(gate.rows(), 8), [&](Index first, Index last) {
    const auto z = gate.middleRows(first, last - first);
    out.middleRows(first, last - first) = z.unaryExpr([](T one) {
                                             return GeluTanhFunction::value(one);
                                           }).cwiseProduct(up.middleRows(first, last - first));
  });
}

/// The gradients of gate and up likewise. Throws as swiglu_backward does.
template <Scalar T>
void gated_backward(GateFunction function, const RowMatrix<T>& gate, const RowMatrix<T>& up,
                    const RowMatrix<T>& dout, RowMatrix<T>& dgate, RowMatrix<T>& dup) {
  if (function == GateFunction::silu) return swiglu_backward(gate, up, dout, dgate, dup);
  require_shape("gate: up", up, gate.rows(), gate.cols());
  require_shape("gate: dout", dout, gate.rows(), gate.cols());
  require_shape("gate: dgate", dgate, gate.rows(), gate.cols());
  require_shape("gate: dup", dup, gate.rows(), gate.cols());
  parallel_ranges(gate.rows(), grain_for(gate.rows(), 8), [&](Index first, Index last) {
    const Index rows = last - first;
    const auto z = gate.middleRows(first, rows);
    const auto dy = dout.middleRows(first, rows);
    dup.middleRows(first, rows) =
        z.unaryExpr([](T one) { return GeluTanhFunction::value(one); }).cwiseProduct(dy);
    dgate.middleRows(first, rows) = z.unaryExpr([](T one) { return GeluTanhFunction::slope(one); })
                                        .cwiseProduct(dy)
                                        .cwiseProduct(up.middleRows(first, rows));
  });
}

}  // namespace qlora::inline QLORA_ABI
