/// Products of a few rows with 4-bit codes, multiplied as they are looked up: decoded weights stay
/// in registers, so the packed bytes are all that memory has to deliver. A block's scale is applied
/// once: for y to the block's sum, for dx to the factor of its row.
///
/// Codes are not put in order; x or dx is, once a call.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/linalg/rounded_weights.hpp"

#if QLORA_HAS_VECTORS

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "qlora/core/matrix.hpp"
#include "qlora/linalg/scratch.hpp"
#include "qlora/linalg/weight_ref.hpp"

namespace qlora::inline QLORA_ABI::linalg_detail {

using namespace simd;

/// Codes that a step takes, in one look-up of high nibbles and one of low ones.
inline constexpr int fused_vectors = FourBitLookup::plain_vectors;
inline constexpr Index fused_step = 2 * fused_vectors * float_lanes;

/// Whether a weight can be multiplied as it is looked up: 4-bit codes, blocks and rows of whole
/// steps.
inline bool can_fuse(const WeightRef& w, Index step = fused_step) {
  return w.is_four_bit() && w.block_size() % step == 0 && w.cols() % step == 0;
}

/// The columns of each step in the order in which a look-up delivers them: first the codes in high
/// nibbles, then those in low ones, both as FourBitLookup::plain orders them. Calls
/// `move(column, place)`.
template <class Move>
void for_fused_order(Index cols, Move&& move) {
  Index place = 0;
  for (Index step = 0; step < cols; step += fused_step)
    for (Index nibble = 0; nibble < 2; ++nibble)
      for (Index i = 0; i < fused_step / 2; ++i) move(step + 2 * plain_byte(i) + nibble, place++);
}

struct FusedScales;

/// Scales of the blocks in rows of W, some rows at a time.
class RowScales {
 public:
  explicit RowScales(const WeightRef& w)
      : w_(w), values_(scratch<FusedScales>(rows_at_once * (w.cols() / w.block_size() + 2))) {}

  static constexpr Index rows_at_once = 32;

  /// Reads those of rows [first, first + rows), rows at most rows_at_once.
  void read(Index first, Index rows) {
    first_block_ = first * w_.cols() / w_.block_size();
    const Index end = ((first + rows) * w_.cols() - 1) / w_.block_size() + 1;
    w_.scales(first_block_, end - first_block_, values_);
  }
  float operator()(Index block) const { return values_[block - first_block_]; }

 private:
  const WeightRef& w_;
  float* values_;
  Index first_block_ = 0;
};

/// y[token][row] of rows [first, last) of W and `Tokens` tokens, whose columns lie in order at x;
/// `Rows` rows at a time share the loads of x, their number a multiple of it and their blocks
/// whole.
template <int Tokens, int Rows>
HWY_FLATTEN void fused_forward_product(const float* x, const WeightRef& w, Index token, Index first,
                                       Index last, float beta, MatrixRef<float>& y) {
  const FloatTag d;
  constexpr auto tokens = std::make_integer_sequence<int, Tokens>{};
  constexpr auto rows = std::make_integer_sequence<int, Rows>{};
  constexpr auto vectors = std::make_integer_sequence<int, fused_vectors>{};
  // As many sums as hide the latency of additions.
  constexpr int ways = Tokens * Rows >= 4 ? 1 : Tokens * Rows >= 2 ? 2 : 4;
  const FourBitLookup lookup(w.table());
  const Index cols = w.cols(), block_size = w.block_size(), row_bytes = cols / 2;
  RowScales scales(w);
  for (Index row = first; row < last; row += Rows) {
    if ((row - first) % RowScales::rows_at_once == 0)
      scales.read(row, std::min(RowScales::rows_at_once, last - row));
    FloatVector sum[Rows][Tokens];
    unrolled(rows, [&](auto r) HWY_ATTR {
      unrolled(tokens, [&](auto t) HWY_ATTR { sum[r][t] = hn::Zero(d); });
    });
    const Index begin = row * cols, end = begin + cols;
    Index block = begin / block_size;
    const float* here = x;
    const std::uint8_t* bytes = w.codes() + static_cast<std::size_t>(begin) / 2;
    for (Index at = begin; at < end; ++block) {
      const Index stop = std::min(end, (block + 1) * block_size);
      FloatVector part[Rows][Tokens][ways];
      unrolled(rows, [&](auto r) HWY_ATTR {
        unrolled(tokens, [&](auto t) HWY_ATTR {
          for (int k = 0; k < ways; ++k) part[r][t][k] = hn::Zero(d);
        });
      });
      for (; at < stop; at += fused_step, here += fused_step, bytes += fused_step / 2) {
        for (int nibble = 0; nibble < 2; ++nibble) {
          const float* from = here + nibble * (fused_step / 2);
          unrolled(rows, [&](auto r) HWY_ATTR {
            FloatVector values[fused_vectors];
            lookup.plain(bytes + r * row_bytes, nibble == 0, values);
            unrolled(tokens, [&](auto t) HWY_ATTR {
              unrolled(vectors, [&](auto k) HWY_ATTR {
                auto& to = part[r][t][k % ways];
                to = hn::MulAdd(values[k], hn::LoadU(d, from + t * cols + k * float_lanes), to);
              });
            });
          });
        }
      }
      unrolled(rows, [&](auto r) HWY_ATTR {
        const auto scale = hn::Set(d, scales(block + r * (cols / block_size)));
        unrolled(tokens, [&](auto t) HWY_ATTR {
          auto all = part[r][t][0];
          for (int k = 1; k < ways; ++k) all = hn::Add(all, part[r][t][k]);
          sum[r][t] = hn::MulAdd(scale, all, sum[r][t]);
        });
      });
    }
    unrolled(rows, [&](auto r) HWY_ATTR {
      unrolled(tokens, [&](auto t) HWY_ATTR {
        float& to = y(token + t, row + r);
        to = hn::GetLane(hn::SumOfLanes(d, sum[r][t])) + (beta != 0 ? beta * to : 0.f);
      });
    });
  }
}

/// Calls `some.operator()<rows>(first, last)` so that rows [first, last) are shared out in pairs,
/// if pairs pay for so many tokens and the blocks of a row are its own, and the rest one by one.
template <int Tokens, class Some>
void for_row_groups(const WeightRef& w, Index first, Index last, Some&& some) {
  constexpr int pair = Tokens == 1 ? 2 : 1;
  const Index middle = w.cols() % w.block_size() == 0 ? last - (last - first) % pair : first;
  if (middle > first) some.template operator()<pair>(first, middle);
  if (last > middle) some.template operator()<1>(middle, last);
}

/// Tokens that fused_backward_product takes at once: their sums stay in registers.
inline constexpr int fused_tokens = float_lanes >= 16 ? 4 : 2;

/// dx[t][col] += sum over rows of dy[t][row] W[row][col] for columns [begin, end), `Tokens` tokens
/// from dy on; dx's columns lie in the order of for_fused_order.
template <int Tokens>
HWY_FLATTEN void fused_backward_product(const float* dy, Index dy_stride, const WeightRef& w,
                                        Index begin, Index end, float* dx, Index dx_stride) {
  const FloatTag d;
  constexpr auto tokens = std::make_integer_sequence<int, Tokens>{};
  constexpr auto vectors = std::make_integer_sequence<int, fused_vectors>{};
  const FourBitLookup lookup(w.table());
  const Index cols = w.cols();
  RowScales scales(w);
  for (Index first = 0; first < w.rows(); first += RowScales::rows_at_once) {
    const Index rows = std::min(RowScales::rows_at_once, w.rows() - first);
    scales.read(first, rows);
    for (Index col = begin; col < end; col += fused_step) {
      for (int nibble = 0; nibble < 2; ++nibble) {
        float* to = dx + col + nibble * (fused_step / 2);
        FloatVector sum[Tokens][fused_vectors];
        unrolled(tokens, [&](auto t) HWY_ATTR {
          unrolled(vectors, [&](auto k) HWY_ATTR {
            sum[t][k] = hn::LoadU(d, to + t * dx_stride + k * float_lanes);
          });
        });
        for (Index row = first; row < first + rows; ++row) {
          const Index at = row * cols + col;
          const float scale = scales(at / w.block_size());
          FloatVector values[fused_vectors];
          lookup.plain(w.codes() + static_cast<std::size_t>(at) / 2, nibble == 0, values);
          unrolled(tokens, [&](auto t) HWY_ATTR {
            const auto factor = hn::Set(d, scale * dy[t * dy_stride + row]);
            unrolled(vectors, [&](auto k) HWY_ATTR {
              sum[t][k] = hn::MulAdd(factor, values[k], sum[t][k]);
            });
          });
        }
        unrolled(tokens, [&](auto t) HWY_ATTR {
          unrolled(vectors, [&](auto k) HWY_ATTR {
            hn::StoreU(sum[t][k], d, to + t * dx_stride + k * float_lanes);
          });
        });
      }
    }
  }
}

#if QLORA_HAS_BFLOAT16_DOT
/// Codes of a step in bfloat16: two vectors of 32.
inline constexpr Index bfloat16_step = 64;

/// x's columns rounded, for each step first those of high nibbles, then those of low ones.
inline void fused_bfloat16_order(const float* x, Index cols, bfloat16* to) {
  for (Index step = 0; step < cols; step += bfloat16_step)
    for (Index nibble = 0; nibble < 2; ++nibble)
      for (Index i = 0; i < bfloat16_step / 2; ++i) *to++ = bfloat16(x[step + 2 * i + nibble]);
}

/// fused_forward_product in bfloat16; x rounded and in order.
template <int Tokens, int Rows>
HWY_FLATTEN void fused_bfloat16(const bfloat16* x, const WeightRef& w, Index token, Index first,
                                Index last, float beta, MatrixRef<float>& y) {
  const FloatTag d;
  constexpr auto tokens = std::make_integer_sequence<int, Tokens>{};
  constexpr auto rows = std::make_integer_sequence<int, Rows>{};
  const auto table = hn::Load(d, w.table().values());
  const Index cols = w.cols(), block_size = w.block_size(), row_bytes = cols / 2;
  RowScales scales(w);
  for (Index row = first; row < last; row += Rows) {
    if ((row - first) % RowScales::rows_at_once == 0)
      scales.read(row, std::min(RowScales::rows_at_once, last - row));
    FloatVector sum[Rows][Tokens][2];
    unrolled(rows, [&](auto r) {
      unrolled(tokens, [&](auto t) { sum[r][t][0] = sum[r][t][1] = hn::Zero(d); });
    });
    const Index begin = row * cols, end = begin + cols;
    Index block = begin / block_size;
    const bfloat16* here = x;
    const std::uint8_t* bytes = w.codes() + static_cast<std::size_t>(begin) / 2;
    for (Index at = begin; at < end; ++block) {
      const Index stop = std::min(end, (block + 1) * block_size);
      __m512i values[Rows];
      unrolled(rows, [&](auto r) {
        values[r] = rounded_twice(apply(table, scales(block + r * (cols / block_size))));
      });
      for (; at < stop; at += bfloat16_step, here += bfloat16_step, bytes += bfloat16_step / 2) {
        unrolled(rows, [&](auto r) {
          // An index counts modulo 32, and the table repeats after 16.
          const __m512i low = _mm512_cvtepu8_epi16(
              _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + r * row_bytes)));
          const WordVector even{_mm512_permutexvar_epi16(_mm512_srli_epi16(low, 4), values[r])};
          const WordVector odd{_mm512_permutexvar_epi16(low, values[r])};
          unrolled(tokens, [&](auto t) {
            const bfloat16* from = here + t * cols;
            sum[r][t][0] = dot_pairs(WordVector{_mm512_loadu_si512(from)}, even, sum[r][t][0]);
            sum[r][t][1] = dot_pairs(WordVector{_mm512_loadu_si512(from + 32)}, odd, sum[r][t][1]);
          });
        });
      }
    }
    unrolled(rows, [&](auto r) {
      unrolled(tokens, [&](auto t) {
        float& to = y(token + t, row + r);
        to = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum[r][t][0], sum[r][t][1]))) +
             (beta != 0 ? beta * to : 0.f);
      });
    });
  }
}

#endif

}  // namespace qlora::inline QLORA_ABI::linalg_detail

#endif  // QLORA_HAS_VECTORS
