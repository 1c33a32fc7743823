/// The product of a few rows with a packed matrix: rows of W are decoded into a buffer in the
/// first-level cache and multiplied at once, so the packed bytes are all that memory has to
/// deliver.
///
///     qlora::gemv_transposed<float>(x, w.view(), y);   // y = x Wᵀ
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/linalg/micro_kernel.hpp"
#include "qlora/linalg/scratch.hpp"
#include "qlora/quant/quantized_view.hpp"

namespace qlora {

/// Up to this many rows of x the product goes row by row of W; above it through blocks (gemm.hpp).
inline constexpr Index gemv_rows = 8;

#if QLORA_VECTOR_DECODE

namespace detail {

/// Sums of rows of W times tokens of x are kept as vectors between pieces of the depth. A single
/// token has two of them a row, so that additions need not wait for each other.
template <int Tokens>
inline constexpr int sums_a_token = Tokens == 1 ? 2 : 1;

/// sums[row][token] += rows of w times tokens of x, `depth` long; x's tokens lie x_stride apart.
template <int Rows, int Tokens>
HWY_INLINE void add_dots(const float* w, Index w_stride, const float* x, Index x_stride,
                         Index depth, float* sums) {
  const FloatTag d;
  constexpr int ways = sums_a_token<Tokens>;
  constexpr auto rows = std::make_integer_sequence<int, Rows>{};
  constexpr auto tokens = std::make_integer_sequence<int, Tokens * ways>{};
  FloatVector sum[Rows][Tokens * ways];
  unrolled(rows, [&](auto r) HWY_ATTR {
    unrolled(tokens, [&](auto t) HWY_ATTR {
      sum[r][t] = hn::Load(d, sums + (r * Tokens * ways + t) * float_lanes);
    });
  });
  Index k = 0;
  for (; k + ways * float_lanes <= depth; k += ways * float_lanes) {
    FloatVector weight[Rows][ways];
    unrolled(rows, [&](auto r) HWY_ATTR {
      for (int i = 0; i < ways; ++i)
        weight[r][i] = hn::LoadU(d, w + r * w_stride + k + i * float_lanes);
    });
    unrolled(tokens, [&](auto t) HWY_ATTR {
      const auto each = hn::LoadU(d, x + t / ways * x_stride + k + t % ways * float_lanes);
      unrolled(rows, [&](auto r) HWY_ATTR {
        sum[r][t] = hn::MulAdd(weight[r][t % ways], each, sum[r][t]);
      });
    });
  }
  unrolled(rows, [&](auto r) HWY_ATTR {
    unrolled(tokens, [&](auto t) HWY_ATTR {
      hn::Store(sum[r][t], d, sums + (r * Tokens * ways + t) * float_lanes);
    });
  });
  // What does not fill a vector goes into the first lane.
  for (; k < depth; ++k)
    for (int r = 0; r < Rows; ++r)
      for (int t = 0; t < Tokens; ++t)
        sums[(r * Tokens + t) * ways * float_lanes] += w[r * w_stride + k] * x[t * x_stride + k];
}

/// Codes that a step of the fused product takes: the bytes of one vector.
inline constexpr Index fused_step = 8 * float_lanes;

/// Whether rows of W can be multiplied as they are looked up: 4 bits, one number a scale, and
/// blocks and rows of whole steps.
template <class F>
bool can_fuse(const QuantizedView<F>& w) {
  if constexpr (requires { w.lookup(); })
    return w.block_size() % fused_step == 0 && w.cols() % fused_step == 0;
  return false;
}

/// x with the columns of each step in the order in which a look-up delivers them: first the codes
/// in high nibbles, then those in low ones, both as FourBitLookup::plain orders them.
inline void permute_tokens(const ConstMatrixRef<float>& x, float* permuted) {
  for (Index token = 0; token < x.rows(); ++token) {
    const float* row = x.data() + token * x.outerStride();
    for (Index step = 0; step < x.cols(); step += fused_step)
      for (Index nibble = 0; nibble < 2; ++nibble)
        for (Index i = 0; i < fused_step / 2; ++i)
          *permuted++ = row[step + 2 * plain_byte(i) + nibble];
  }
}

/// Rows [first, last) of W times `Tokens` tokens, whose permuted columns are at `x`. A block's
/// codes are looked up and multiplied in registers; its scale is applied once, to the block's sum.
template <int Tokens, class F>
void fused_dot_rows(const float* x, const QuantizedView<F>& w, Index token, Index first, Index last,
                    MatrixRef<float> y) {
  const FloatTag d;
  constexpr auto tokens = std::make_integer_sequence<int, Tokens>{};
  constexpr auto vectors = std::make_integer_sequence<int, FourBitLookup::plain_vectors>{};
  // As many sums as hide the latency of additions.
  constexpr int ways = Tokens >= 4 ? 1 : Tokens >= 2 ? 2 : 4;
  const FourBitLookup lookup = w.lookup();
  const Index cols = w.cols(), block_size = w.block_size();
  for (Index row = first; row < last; ++row) {
    FloatVector sum[Tokens];
    unrolled(tokens, [&](auto t) HWY_ATTR { sum[t] = hn::Zero(d); });
    const Index begin = row * cols, end = begin + cols;
    Index block = begin / block_size;
    const float* here = x;
    for (Index at = begin; at < end; ++block) {
      const Index stop = std::min(end, (block + 1) * block_size);
      FloatVector part[Tokens][ways];
      unrolled(tokens, [&](auto t) HWY_ATTR {
        for (int k = 0; k < ways; ++k) part[t][k] = hn::Zero(d);
      });
      for (; at < stop; at += fused_step, here += fused_step) {
        const std::uint8_t* bytes = w.codes() + static_cast<std::size_t>(at) / 2;
        for (int nibble = 0; nibble < 2; ++nibble) {
          FloatVector values[FourBitLookup::plain_vectors];
          lookup.plain(bytes, nibble == 0, values);
          const float* from = here + nibble * (fused_step / 2);
          unrolled(tokens, [&](auto t) HWY_ATTR {
            unrolled(vectors, [&](auto k) HWY_ATTR {
              part[t][k % ways] = hn::MulAdd(
                  values[k], hn::LoadU(d, from + t * cols + k * float_lanes), part[t][k % ways]);
            });
          });
        }
      }
      const auto scale = hn::Set(d, w.scale()(block));
      unrolled(tokens, [&](auto t) HWY_ATTR {
        auto all = part[t][0];
        for (int k = 1; k < ways; ++k) all = hn::Add(all, part[t][k]);
        sum[t] = hn::MulAdd(scale, all, sum[t]);
      });
    }
    unrolled(tokens,
             [&](auto t) HWY_ATTR { y(token + t, row) = hn::GetLane(hn::SumOfLanes(d, sum[t])); });
  }
}

struct PermutedTokens;

/// Rows [first, last) of W times at most four tokens from `token` on.
template <int Tokens, class F>
void dot_rows(const ConstMatrixRef<float>& x, const QuantizedView<F>& w, Index token, Index first,
              Index last, MatrixRef<float> y) {
  constexpr int rows_at_once = Tokens <= 2 ? 4 : 2;
  constexpr Index piece = 1024;
  constexpr Index vectors = Tokens * sums_a_token<Tokens>;
  alignas(64) float decoded[rows_at_once * piece];
  alignas(64) float sums[rows_at_once * vectors * float_lanes];
  for (Index row = first; row < last;) {
    const bool several = row + rows_at_once <= last;
    const Index rows = several ? rows_at_once : 1;
    std::fill_n(sums, rows * vectors * float_lanes, 0.f);
    for (Index col = 0; col < w.cols(); col += piece) {
      const Index depth = std::min(piece, w.cols() - col);
      for (Index r = 0; r < rows; ++r)
        w.decode_range((row + r) * w.cols() + col, depth, decoded + r * piece);
      const float* from = x.data() + token * x.outerStride() + col;
      if (several) {
        add_dots<rows_at_once, Tokens>(decoded, piece, from, x.outerStride(), depth, sums);
      } else {
        add_dots<1, Tokens>(decoded, piece, from, x.outerStride(), depth, sums);
      }
    }
    for (Index r = 0; r < rows; ++r)
      for (Index t = 0; t < Tokens; ++t) {
        const float* lanes = sums + (r * vectors + t * sums_a_token<Tokens>)*float_lanes;
        float total = 0;
        for (Index i = 0; i < sums_a_token<Tokens> * float_lanes; ++i) total += lanes[i];
        y(token + t, row + r) = total;
      }
    row += rows;
  }
}

/// Columns [first, last) of y, four tokens at a time; with `permuted`, the fused way.
template <class F>
void gemv_rows_of(const ConstMatrixRef<float>& x, const QuantizedView<F>& w, const float* permuted,
                  Index first, Index last, MatrixRef<float> y) {
  const auto some = [&]<int Tokens>(Index token) {
    if constexpr (requires { w.lookup(); })
      if (permuted)
        return fused_dot_rows<Tokens>(permuted + token * w.cols(), w, token, first, last, y);
    dot_rows<Tokens>(x, w, token, first, last, y);
  };
  Index token = 0;
  for (; token + 4 <= x.rows(); token += 4) some.template operator()<4>(token);
  const Index rest = x.rows() - token;
  if (rest == 3) some.template operator()<3>(token);
  if (rest == 2) some.template operator()<2>(token);
  if (rest == 1) some.template operator()<1>(token);
}

}  // namespace detail

#endif

/// y = x Wᵀ. x: [tokens, in], w: [out, in], y: [tokens, out]. Throws ShapeError when the shapes do
/// not fit.
template <class T, class F>
void gemv_transposed(const ConstMatrixRef<T>& x, const QuantizedView<F>& w, MatrixRef<T> y) {
  require_shape("gemv_transposed: x", x, x.rows(), w.cols());
  require_shape("gemv_transposed: y", y, x.rows(), w.rows());
#if QLORA_VECTOR_DECODE
  const float* permuted = nullptr;
  if constexpr (std::is_same_v<T, float>)
    if (detail::can_fuse(w)) {
      float* buffer = detail::scratch<detail::PermutedTokens>(x.rows() * x.cols());
      detail::permute_tokens(x, buffer);
      permuted = buffer;
    }
#endif
  parallel_ranges(w.rows(), grain_for(w.rows(), 16), [&](Index first, Index last) {
#if QLORA_VECTOR_DECODE
    if constexpr (std::is_same_v<T, float>) {
      return detail::gemv_rows_of(x, w, permuted, first, last, y);
    }
#endif
    Vector<T> decoded(w.cols());
    for (Index row = first; row < last; ++row) {
      w.decode_range(row * w.cols(), w.cols(), decoded.data());
      for (Index token = 0; token < x.rows(); ++token)
        y(token, row) = x.row(token).dot(decoded.transpose());
    }
  });
}

}  // namespace qlora
