/// One block of a decoder, forward and backward: h = x + attention(norm(x)), then
/// y = h + feed_forward(norm(h)), where the feed-forward part is gated. Families differ in where the
/// norms stand, in norms of queries and keys, in biases, and in a factor of what is added to x.
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

/// One layer: attention and a feed-forward part. A norm without weights is not there. Several
/// threads may run `forward` at once, each with a `Saved` of its own. `backward` needs the block for
/// itself.
template <Scalar T = float>
struct LlamaBlock {
  AttentionShape shape;
  RmsNorm<T> attention_norm, feed_forward_norm;            ///< before the sublayers
  RmsNorm<T> attention_post_norm, feed_forward_post_norm;  ///< after them
  RmsNorm<T> query_norm, key_norm;                         ///< of a head, or of all together
  std::array<LoraLinear<AnyLinear<T>, T>, projection_count> projections;
  std::array<ColumnVector<T>, projection_count> biases;  ///< each [rows]; empty where there is none
  GateFunction gate_function = GateFunction::silu;
  bool turns = true;     ///< whether queries and keys get rotary embedding
  T residual_scale = 1;  ///< factor of what a sublayer adds

  /// What the backward pass reads. All matrices have one row per token. x is the block's input, and
  /// `middle` is h, the sum after the attention. raw_q and raw_k are queries and keys before their
  /// norms; o and down are what the sublayers give before norms after them.
  struct Saved {
    RowMatrix<T> x, q, k, v, attended, middle, gate, up, log_sums, raw_q, raw_k, o, down;
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
    before(attention_norm, x, normed);
    project(q_proj, normed, s.q, s, dropout);
    project(k_proj, normed, s.k, s, dropout);
    project(v_proj, normed, s.v, s, dropout);
    norm_heads(query_norm, s.q, s.raw_q);
    norm_heads(key_norm, s.k, s.raw_k);
    if (turns) {
      rope.forward(s.q, layout.positions);
      rope.forward(s.k, layout.positions);
    }
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
    after(attention_post_norm, s.middle, s.o);
    s.middle += s.x;
    before(feed_forward_norm, s.middle, normed);
    project(gate_proj, normed, s.gate, s, dropout);
    project(up_proj, normed, s.up, s, dropout);
    RowMatrix<T> hidden(tokens, s.gate.cols());
    gated_forward(gate_function, s.gate, s.up, hidden);
    project(down_proj, hidden, x, s, dropout);
    after(feed_forward_post_norm, x, s.down);
    x += s.middle;
  }

  /// Turns dx, [tokens, width], from the gradient of the block's output to that of its input, and
  /// adds to the gradients of the adapters. `s` and `layout` are those of the forward pass.
  void backward(RowMatrix<T>& dx, const Saved& s, const BatchLayout& layout, const Rope<T>& rope) {
    const Index tokens = dx.rows(), width = dx.cols();
    const Index width_within = s.gate.cols();
    RowMatrix<T> hidden(tokens, width_within), dhidden(tokens, width_within),
        dgate(tokens, width_within), dup(tokens, width_within);
    gated_forward(gate_function, s.gate, s.up, hidden);
    RowMatrix<T> dout;
    unproject(down_proj, hidden, after_backward(feed_forward_post_norm, s.down, dx, dout), dhidden,
              s);
    gated_backward(gate_function, s.gate, s.up, dhidden, dgate, dup);

    RowMatrix<T> normed(tokens, width), dnormed(tokens, width), part(tokens, width);
    before(feed_forward_norm, s.middle, normed);
    unproject(gate_proj, normed, dgate, dnormed, s);
    unproject(up_proj, normed, dup, part, s);
    dnormed += part;
    before_backward(feed_forward_norm, s.middle, dnormed,
                    dx);  // dx is now the gradient of `middle`

    RowMatrix<T> dattended(tokens, s.attended.cols()), dq(tokens, s.q.cols()),
        dk(tokens, s.k.cols()), dv(tokens, s.v.cols());
    unproject(o_proj, s.attended, after_backward(attention_post_norm, s.o, dx, dout), dattended, s);
    attention_backward<T>(shape, s.q, s.k, s.v, s.attended, s.log_sums, dattended, layout.sequences,
                          dq, dk, dv);
    if (turns) {
      rope.backward(dq, layout.positions);
      rope.backward(dk, layout.positions);
    }
    norm_heads_backward(query_norm, s.raw_q, dq);
    norm_heads_backward(key_norm, s.raw_k, dk);
    before(attention_norm, s.x, normed);
    unproject(q_proj, normed, dq, dnormed, s);
    unproject(k_proj, normed, dk, part, s);
    dnormed += part;
    unproject(v_proj, normed, dv, part, s);
    dnormed += part;
    before_backward(attention_norm, s.x, dnormed, dx);
  }

 private:
  static bool there(const RmsNorm<T>& norm) { return norm.weight.size() > 0; }

  // What goes into a sublayer.
  static void before(const RmsNorm<T>& norm, const RowMatrix<T>& x, RowMatrix<T>& normed) {
    if (there(norm)) {
      norm.forward(x, normed);
    } else {
      normed = x;
    }
  }
  static void before_backward(const RmsNorm<T>& norm, const RowMatrix<T>& x,
                              const RowMatrix<T>& dnormed, RowMatrix<T>& dx) {
    if (there(norm)) {
      norm.add_backward(x, dnormed, dx);
    } else {
      dx += dnormed;
    }
  }

  // What a sublayer adds to the stream, from what it gives.
  void after(const RmsNorm<T>& norm, RowMatrix<T>& out, RowMatrix<T>& given) const {
    if (there(norm)) {
      given.swap(out);
      out.resize(given.rows(), given.cols());
      norm.forward(given, out);
    }
    if (residual_scale != T(1)) out *= residual_scale;
  }
  // The gradient of what it gives; dout is room for it.
  const RowMatrix<T>& after_backward(const RmsNorm<T>& norm, const RowMatrix<T>& given,
                                     const RowMatrix<T>& dx, RowMatrix<T>& dout) const {
    if (!there(norm) && residual_scale == T(1)) return dx;
    if (there(norm)) {
      dout.resize(dx.rows(), dx.cols());
      norm.backward(given, dx, dout);
    } else {
      dout = dx;
    }
    if (residual_scale != T(1)) dout *= residual_scale;
    return dout;
  }

  // A norm over each head's numbers, or over all of a row, in place; `raw` becomes what was there.
  using Heads = Eigen::Map<RowMatrix<T>>;
  static Heads heads_of(RowMatrix<T>& x, const RmsNorm<T>& norm) {
    const Index width = norm.weight.size();
    return {x.data(), x.size() / width, width};
  }
  static void norm_heads(const RmsNorm<T>& norm, RowMatrix<T>& x, RowMatrix<T>& raw) {
    if (!there(norm)) return;
    raw.swap(x);
    x.resize(raw.rows(), raw.cols());
    norm.forward(heads_of(raw, norm), heads_of(x, norm));
  }
  static void norm_heads_backward(const RmsNorm<T>& norm, const RowMatrix<T>& raw,
                                  RowMatrix<T>& dx) {
    if (!there(norm)) return;
    RowMatrix<T> dout;
    dout.swap(dx);
    dx.resize(dout.rows(), dout.cols());
    const Index width = norm.weight.size();
    const Eigen::Map<const RowMatrix<T>> x(raw.data(), raw.size() / width, width);
    norm.backward(x, heads_of(dout, norm), heads_of(dx, norm));
  }

  static std::uint64_t key_of(DropoutKey dropout, Projection which) {
    return derive_key(dropout.key, static_cast<std::uint64_t>(which));
  }

  void project(Projection which, const RowMatrix<T>& x, RowMatrix<T>& out, Saved& s,
               DropoutKey dropout) const {
    out.resize(x.rows(), projections[which].rows());
    projections[which].forward(x, out, s.kept[which], {dropout.training, key_of(dropout, which)});
    if (biases[which].size() > 0) out.rowwise() += biases[which].transpose();
  }

  void unproject(Projection which, const RowMatrix<T>& x, const RowMatrix<T>& dout,
                 RowMatrix<T>& dx, const Saved& s) {
    projections[which].backward(x, s.kept[which], dout, dx);
  }
};

}  // namespace qlora::inline QLORA_ABI
