/// Operands in the shape that the micro-kernels read: panels of weights, decoded if they are
/// packed, and strips of activations, both rounded to the numbers of the arithmetic and padded with
/// zeros.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/linalg/rounded_weights.hpp"

#if QLORA_HAS_VECTORS

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/linalg/scratch.hpp"
#include "qlora/linalg/transpose.hpp"
#include "qlora/linalg/weight_ref.hpp"

namespace qlora::inline QLORA_ABI::linalg_detail {

using namespace simd;

constexpr Index round_up(Index count, Index step) { return (count + step - 1) / step * step; }

/// Strips of tile_width that hold `count` columns, and their width together.
template <StripArithmetic Arithmetic>
constexpr Index padded(Index count) {
  return round_up(count, Arithmetic::tile_width);
}
template <StripArithmetic Arithmetic>
constexpr Index strips(Index count) {
  return padded<Arithmetic>(count) / Arithmetic::tile_width;
}
template <StripArithmetic Arithmetic>
constexpr Index padded_depth(Index count) {
  return round_up(count, Arithmetic::depth_step);
}

/// Rows of a panel lie a little apart from a power of two, so that they share no cache sets.
template <StripArithmetic Arithmetic>
inline constexpr Index panel_stride = Arithmetic::block_depth +
                                      64 / static_cast<Index>(sizeof(typename Arithmetic::Number));

/// Numbers in rows `stride` apart.
template <class Number>
struct NumberRows {
  const Number* data;
  Index stride;
};

struct PanelLine;

/// Rows [row, row + rows), columns [col, col + cols) of W for broadcasting: in `buffer`,
/// panel_stride apart, or where they lie.
template <StripArithmetic Arithmetic>
NumberRows<typename Arithmetic::Number> row_panel(const WeightRef& w, Index row, Index rows,
                                                  Index col, Index cols,
                                                  typename Arithmetic::Number* buffer) {
  constexpr Index stride = panel_stride<Arithmetic>;
  if constexpr (std::is_same_v<typename Arithmetic::Number, float>) {
    if (w.is_dense()) return {w.dense(row, col), w.stride()};
    for (Index r = 0; r < rows; ++r) w.decode(row + r, col, cols, buffer + r * stride);
  } else {
    const Index full = padded_depth<Arithmetic>(cols);
    for (Index r = 0; r < rows; ++r) {
      bfloat16* to = buffer + r * stride;
      decode_rounded(w, row + r, col, cols, to);
      std::fill(to + cols, to + full, bfloat16());
    }
  }
  return {buffer, stride};
}

/// The same in strips: [strip][row / step][column of the strip][row % step].
template <StripArithmetic Arithmetic>
void column_panel(const WeightRef& w, Index row, Index rows, Index col, Index cols,
                  typename Arithmetic::Number* to) {
  constexpr Index width = Arithmetic::tile_width;
  using Number = typename Arithmetic::Number;
  const Index all = padded<Arithmetic>(cols), depth = padded_depth<Arithmetic>(rows);
  Number* line = scratch<PanelLine, Number>(2 * all);
  std::fill_n(line, 2 * all, Number());
  if constexpr (std::is_same_v<Number, float>) {
    const FloatTag d;
    for (Index r = 0; r < rows; ++r) {
      const bool whole = w.is_dense() && cols == all;
      const float* from = whole ? w.dense(row + r, col) : line;
      if (!whole) w.decode(row + r, col, cols, line);
      for (Index k = 0; k < all; k += width)
        for (Index v = 0; v < width; v += float_lanes)
          hn::StoreU(hn::LoadU(d, from + k + v), d, to + k * depth + r * width + v);
    }
  } else {
    const auto decode = [&](Index r, Number* out) {
      if (r < rows) {
        decode_rounded(w, row + r, col, cols, out);
      } else {
        std::fill_n(out, cols, Number());
      }
    };
    for (Index r = 0; r < depth; r += 2) {
      decode(r, line);
      decode(r + 1, line + all);
      for (Index k = 0; k < all; k += width)
        interleave(line + k, line + all + k, width, to + k * depth + r * width);
    }
  }
}

/// A row's columns as words of the arithmetic: a float each, or a pair of bfloat16 numbers.
template <StripArithmetic Arithmetic, class X>
void to_words(const X* from, Index count, std::uint32_t* to) {
  using Number = typename Arithmetic::Number;
  Number* numbers = reinterpret_cast<Number*>(to);
  if constexpr (std::is_same_v<Number, X>) {
    std::copy_n(from, count, numbers);
  } else if constexpr (std::is_same_v<Number, float>) {
    for (Index i = 0; i < count; ++i) numbers[i] = static_cast<float>(from[i]);
  } else {
    round_to_bfloat16(from, count, numbers);
  }
  std::fill(numbers + count, numbers + padded_depth<Arithmetic>(count), Number());
}

/// x as strips of tile_width tokens: [strip][col / step][token of the strip][col % step], where the
/// step is what one multiply-add takes of the depth.
template <StripArithmetic Arithmetic, class X>
void pack_tokens(const ConstMatrixRef<X>& x, Index first, Index tokens,
                 typename Arithmetic::Number* packed) {
  using Number = typename Arithmetic::Number;
  constexpr Index width = Arithmetic::tile_width;
  constexpr Index run = 64;  // words of a token at a time: they stay in the cache for all tokens
  constexpr Index numbers = sizeof(std::uint32_t) / sizeof(Number);
  const Index depth = padded_depth<Arithmetic>(x.cols());
  parallel_for(strips<Arithmetic>(tokens), [&](Index strip) {
    alignas(64) std::uint32_t words[width][run];
    auto* to = reinterpret_cast<std::uint32_t*>(packed + strip * depth * width);
    const Index from = first + strip * width, count = std::min(width, first + tokens - from);
    if (count < width) std::fill(&words[count][0], &words[0][0] + width * run, 0u);
    for (Index col = 0; col < x.cols(); col += run * numbers) {
      const Index cols = std::min(run * numbers, x.cols() - col);
      for (Index token = 0; token < count; ++token)
        to_words<Arithmetic>(x.data() + (from + token) * x.outerStride() + col, cols, words[token]);
      transpose_words(&words[0][0], run, width, padded_depth<Arithmetic>(cols) / numbers,
                      to + col / numbers * width, width);
    }
  });
}

struct NumberRowsOf;

/// The rows of x for broadcasting: where they lie, or in the caller's scratch, rounded or because
/// rows a multiple of 2 KiB apart would share the sets of the first-level cache.
template <StripArithmetic Arithmetic, class X>
NumberRows<typename Arithmetic::Number> number_rows(const ConstMatrixRef<X>& x) {
  using Number = typename Arithmetic::Number;
  if constexpr (std::is_same_v<Number, X> && Arithmetic::depth_step == 1) {
    constexpr Index two_kib = 2048 / static_cast<Index>(sizeof(Number));
    if (x.rows() == 1 || x.outerStride() % two_kib != 0) return {x.data(), x.outerStride()};
  }
  const Index stride = padded_depth<Arithmetic>(x.cols()) + 32;
  Number* rows = scratch<NumberRowsOf, Number>(round_up(x.rows(), Arithmetic::row_step) * stride);
  parallel_for(x.rows(), [&](Index row) {
    to_words<Arithmetic>(x.data() + row * x.outerStride(), x.cols(),
                         reinterpret_cast<std::uint32_t*>(rows + row * stride));
  });
  return {rows, stride};
}

/// Rows that store_transposed takes at most.
inline constexpr Index most_stored_rows = 128;

/// Reads `result` up to a multiple of 4 rows:
/// y[token][row] = result[row][token] + beta y[token][row] + bias[row].
inline void store_transposed(const float* result, Index result_stride, Index rows, Index tokens,
                             float beta, const float* bias, float* y, Index y_stride) {
  constexpr Index run = 16;
  alignas(64) float line[run * most_stored_rows];
  for (Index token = 0; token < tokens; token += run) {
    const Index count = std::min(run, tokens - token);
    transpose_words(reinterpret_cast<const std::uint32_t*>(result + token), result_stride,
                    round_up(rows, 4), count, reinterpret_cast<std::uint32_t*>(line),
                    most_stored_rows);
    for (Index t = 0; t < count; ++t) {
      float* to = y + (token + t) * y_stride;
      const float* from = line + t * most_stored_rows;
      for (Index r = 0; r < rows; ++r)
        to[r] = from[r] + (beta != 0 ? beta * to[r] : 0.f) + (bias ? bias[r] : 0.f);
    }
  }
}

}  // namespace qlora::inline QLORA_ABI::linalg_detail

#endif  // QLORA_HAS_VECTORS
