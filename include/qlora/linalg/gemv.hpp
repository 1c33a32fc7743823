/// The product of a few rows with a weight: 4-bit codes are multiplied as they are looked up
/// (four_bit_products.hpp), rows of other formats are decoded into a buffer in the first-level cache and
/// multiplied at once, so the packed bytes are all that memory has to deliver.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/linalg/four_bit_products.hpp"

#if QLORA_HAS_VECTORS

#include <algorithm>
#include <vector>

#include "qlora/core/parallel.hpp"

namespace qlora::inline QLORA_ABI::linalg_detail {

using namespace simd;

/// Sums of rows of W times tokens of x are kept as vectors between pieces of the depth. A single
/// token has two of them a row, so that additions need not wait for each other.
template <int Tokens>
inline constexpr int sums_a_token = Tokens == 1 ? 2 : 1;

/// sums[row][token] += rows of w times tokens of x, `depth` long; x's tokens lie x_stride apart.
template <int Rows, int Tokens>
HWY_FLATTEN void add_dots(const float* w, Index w_stride, const float* x, Index x_stride,
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

/// Rows [first, last) of W times at most four tokens from `token` on.
template <int Tokens>
void dot_rows(const ConstMatrixRef<float>& x, const WeightRef& w, bool rounded, Index token,
              Index first, Index last, float beta, MatrixRef<float> y) {
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
      for (Index r = 0; r < rows; ++r) {
        w.decode(row + r, col, depth, decoded + r * piece);
        if (rounded) keep_bfloat16(decoded + r * piece, depth);
      }
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
        float& to = y(token + t, row + r);
        to = total + (beta != 0 ? beta * to : 0.f);
      }
    row += rows;
  }
}

/// Calls `some.operator()<n>(token)` for runs of n tokens, at most `Most` at a time.
template <int Most, class Some>
void for_tokens(Index tokens, Some&& some) {
  const auto rest = [&]<int n>(auto& self, Index token) {
    if constexpr (n > 0) {
      if (tokens - token == n) return some.template operator()<n>(token);
      self.template operator()<n - 1>(self, token);
    }
  };
  Index token = 0;
  for (; token + Most <= tokens; token += Most) some.template operator()<Most>(token);
  rest.template operator()<Most - 1>(rest, token);
}

struct OrderedTokens;

/// y = x Wᵀ + beta y, row by row of W; x holds numbers of bfloat16 if `rounded`, and W's are
/// rounded to it.
inline void dot_forward(const ConstMatrixRef<float>& x, const WeightRef& w, bool rounded,
                        float beta, MatrixRef<float> y) {
  parallel_ranges(w.rows(), grain_for(w.rows(), 16), [&](Index first, Index last) {
    for_tokens<4>(x.rows(), [&]<int Tokens>(Index token) {
      dot_rows<Tokens>(x, w, rounded, token, first, last, beta, y);
    });
  });
}

/// y = x Wᵀ + beta y.
inline void gemv_forward(const ConstMatrixRef<float>& x, const WeightRef& w, float beta,
                         MatrixRef<float> y) {
  if (!can_fuse(w)) return dot_forward(x, w, false, beta, y);
  const Index cols = w.cols();
  float* ordered = scratch<OrderedTokens>(x.rows() * cols);
  for (Index token = 0; token < x.rows(); ++token) {
    const float* from = x.data() + token * x.outerStride();
    float* to = ordered + token * cols;
    for_fused_order(cols, [&](Index col, Index place) { to[place] = from[col]; });
  }
  parallel_ranges(w.rows(), grain_for(w.rows(), 16), [&](Index first, Index last) {
    for_tokens<4>(x.rows(), [&]<int Tokens>(Index token) {
      for_row_groups<Tokens>(w, first, last, [&]<int Rows>(Index from, Index to) {
        fused_forward_product<Tokens, Rows>(ordered + token * cols, w, token, from, to, beta, y);
      });
    });
  });
}

/// dx = dy W + beta dx, for weights that can_fuse.
inline void gemv_backward(const ConstMatrixRef<float>& dy, const WeightRef& w, float beta,
                          MatrixRef<float> dx) {
  const Index cols = w.cols(), tokens = dy.rows();
  float* ordered = scratch<OrderedTokens>(tokens * cols);
  std::fill_n(ordered, tokens * cols, 0.f);
  parallel_ranges(cols, grain_for(cols, fused_step), [&](Index begin, Index end) {
    for_tokens<fused_tokens>(tokens, [&]<int Tokens>(Index token) {
      fused_backward_product<Tokens>(dy.data() + token * dy.outerStride(), dy.outerStride(), w,
                                     begin, end, ordered + token * cols, cols);
    });
  });
  for (Index token = 0; token < tokens; ++token) {
    const float* from = ordered + token * cols;
    float* to = dx.data() + token * dx.outerStride();
    for_fused_order(cols, [&](Index col, Index place) {
      to[col] = from[place] + (beta != 0 ? beta * to[col] : 0.f);
    });
  }
}

struct OrderedBfloat16;
struct RoundedTokens;

/// gemv_forward in bfloat16.
inline void gemv_forward_bfloat16(const ConstMatrixRef<float>& x, const WeightRef& w, float beta,
                                  MatrixRef<float> y) {
  const Index cols = w.cols();
#if QLORA_HAS_BFLOAT16_DOT
  if (can_fuse(w, bfloat16_step)) {
    bfloat16* ordered = scratch<OrderedBfloat16, bfloat16>(x.rows() * cols);
    for (Index token = 0; token < x.rows(); ++token)
      fused_bfloat16_order(x.data() + token * x.outerStride(), cols, ordered + token * cols);
    return parallel_ranges(w.rows(), grain_for(w.rows(), 16), [&](Index first, Index last) {
      for_tokens<4>(x.rows(), [&]<int Tokens>(Index token) {
        for_row_groups<Tokens>(w, first, last, [&]<int Rows>(Index from, Index to) {
          fused_bfloat16<Tokens, Rows>(ordered + token * cols, w, token, from, to, beta, y);
        });
      });
    });
  }
#endif
  float* rounded = scratch<RoundedTokens>(x.rows() * cols);
  for (Index token = 0; token < x.rows(); ++token) {
    std::copy_n(x.data() + token * x.outerStride(), cols, rounded + token * cols);
    keep_bfloat16(rounded + token * cols, cols);
  }
  const Eigen::Map<const RowMatrixXf> numbers(rounded, x.rows(), cols);
  dot_forward(numbers, w, true, beta, y);
}

}  // namespace qlora::inline QLORA_ABI::linalg_detail

#endif  // QLORA_HAS_VECTORS
