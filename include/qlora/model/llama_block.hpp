/// One Llama block, forward and backward: h = x + attention(norm(x)), then
/// y = h + feed_forward(norm(h)), where the feed-forward part is a SwiGLU.
///
/// The forward pass keeps what is expensive to recompute: the projections and the output of the
/// attention. The backward pass computes the norms and the gated product again.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/model/llama_config.hpp"
#include "qlora/nn/attention.hpp"
#include "qlora/nn/batch_layout.hpp"
#include "qlora/nn/lora.hpp"
#include "qlora/nn/rms_norm.hpp"
#include "qlora/nn/rope.hpp"
#include "qlora/nn/swiglu.hpp"

namespace qlora::inline QLORA_ABI {

/// One layer: attention and a feed-forward part, each after a norm. Several threads may run
/// `forward` at once, each with a `Saved` of its own. `backward` needs the block for itself.
template <Scalar T = float>
struct LlamaBlock {
  AttentionShape shape;
  RmsNorm<T> attention_norm, feed_forward_norm;
  std::array<LoraLinear<AnyLinear<T>, T>, projection_count> projections;

  /// What the backward pass reads. All matrices have one row per token. x is the block's input, and
  /// `middle` is h, the sum after the attention.
  struct Saved {
    RowMatrix<T> x, q, k, v, attended, middle, gate, up, log_sums;
    std::array<typename LoraLinear<AnyLinear<T>, T>::Kept, projection_count> kept;
  };

  /// The keys and values of one sequence so far, each [capacity, kv_heads * head_width].
  struct Cache {
    RowMatrix<T> k, v;
  };

  /// Replaces x, [tokens, width], by the block's output, and keeps in `s` what `backward` reads.
  /// With a cache, the keys and values are added to it, and attention reads from it; the layout
  /// then has one sequence, whose `past` is the number of tokens in the cache. Throws ShapeError
  /// where the sizes do not fit together.
  void forward(RowMatrix<T>& x, Saved& s, const BatchLayout& layout, const Rope<T>& rope,
               DropoutKey dropout, Cache* cache = nullptr) const {
    s.x = x;
    const Index tokens = x.rows();
    RowMatrix<T> normed(tokens, x.cols());
    attention_norm.forward(x, normed);
    project(q_proj, normed, s.q, s, dropout);
    project(k_proj, normed, s.k, s, dropout);
    project(v_proj, normed, s.v, s, dropout);
    rope.forward(s.q, layout.positions);
    rope.forward(s.k, layout.positions);
    s.attended.resize(tokens, s.q.cols());
    s.log_sums.resize(tokens, shape.heads);
    if (cache) {
      const Index past = layout.sequences.front().past;
      cache->k.middleRows(past, tokens) = s.k;
      cache->v.middleRows(past, tokens) = s.v;
      attention_forward<T>(shape, s.q, cache->k, cache->v, layout.sequences, s.attended,
                           s.log_sums);
    } else {
      attention_forward<T>(shape, s.q, s.k, s.v, layout.sequences, s.attended, s.log_sums);
    }
    project(o_proj, s.attended, s.middle, s, dropout);
    s.middle += s.x;
    feed_forward_norm.forward(s.middle, normed);
    project(gate_proj, normed, s.gate, s, dropout);
    project(up_proj, normed, s.up, s, dropout);
    RowMatrix<T> hidden(tokens, s.gate.cols());
    swiglu_forward(s.gate, s.up, hidden);
    project(down_proj, hidden, x, s, dropout);
    x += s.middle;
  }

  /// Turns dx, [tokens, width], from the gradient of the block's output to that of its input, and
  /// adds to the gradients of the adapters. `s` and `layout` are those of the forward pass.
  void backward(RowMatrix<T>& dx, const Saved& s, const BatchLayout& layout, const Rope<T>& rope) {
    const Index tokens = dx.rows(), width = dx.cols();
    const Index width_within = s.gate.cols();
    RowMatrix<T> hidden(tokens, width_within), dhidden(tokens, width_within),
        dgate(tokens, width_within), dup(tokens, width_within);
    swiglu_forward(s.gate, s.up, hidden);
    unproject(down_proj, hidden, dx, dhidden, s);
    swiglu_backward(s.gate, s.up, dhidden, dgate, dup);

    RowMatrix<T> normed(tokens, width), dnormed(tokens, width), part(tokens, width);
    feed_forward_norm.forward(s.middle, normed);
    unproject(gate_proj, normed, dgate, dnormed, s);
    unproject(up_proj, normed, dup, part, s);
    dnormed += part;
    feed_forward_norm.add_backward(s.middle, dnormed, dx);  // dx is now the gradient of `middle`

    RowMatrix<T> dattended(tokens, s.attended.cols()), dq(tokens, s.q.cols()),
        dk(tokens, s.k.cols()), dv(tokens, s.v.cols());
    unproject(o_proj, s.attended, dx, dattended, s);
    attention_backward<T>(shape, s.q, s.k, s.v, s.attended, s.log_sums, dattended, layout.sequences,
                          dq, dk, dv);
    rope.backward(dq, layout.positions);
    rope.backward(dk, layout.positions);
    attention_norm.forward(s.x, normed);
    unproject(q_proj, normed, dq, dnormed, s);
    unproject(k_proj, normed, dk, part, s);
    dnormed += part;
    unproject(v_proj, normed, dv, part, s);
    dnormed += part;
    attention_norm.add_backward(s.x, dnormed, dx);
  }

 private:
  static std::uint64_t key_of(DropoutKey dropout, Projection which) {
    return derive_key(dropout.key, static_cast<std::uint64_t>(which));
  }

  void project(Projection which, const RowMatrix<T>& x, RowMatrix<T>& out, Saved& s,
               DropoutKey dropout) const {
    out.resize(x.rows(), projections[which].rows());
    projections[which].forward(x, out, s.kept[which], {dropout.training, key_of(dropout, which)});
  }

  void unproject(Projection which, const RowMatrix<T>& x, const RowMatrix<T>& dout,
                 RowMatrix<T>& dx, const Saved& s) {
    projections[which].backward(x, s.kept[which], dout, dx);
  }
};

}  // namespace qlora::inline QLORA_ABI
