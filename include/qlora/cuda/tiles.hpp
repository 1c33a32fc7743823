/// Tiles of a product in shared memory and registers: activations as fragments, and sums with what
/// LoRA adds on their way to memory.
///
/// The order in which a product is summed is free, so a reduction of 32 is laid out such that lane
/// 4 g + t takes places 8 t to 8 t + 7: four of them in each of two tensor-core steps. Sixteen
/// bytes of shared memory are then one lane's share of a row, and a word of 4-bit codes too; no
/// matrix has to be turned on the way.
#pragma once

#include <type_traits>

#include "qlora/cuda/dropout.hpp"
#include "qlora/cuda/gemv.hpp"

namespace qlora::cuda {

/// The 16-bit type that tensor cores multiply X in.
template <class X>
using Factor = std::conditional_t<std::is_same_v<X, float>, bfloat16, X>;

inline constexpr int reduction = 32;  ///< of a product that lies in shared memory at a time

namespace detail {

/// Calls body(i) for i of [0, Count), every thread for its own; the number of rounds is a constant.
template <int Count, int Threads, class Context, class Body>
QLORA_DEVICE void share_out(Context& thread, Body body) {
  QLORA_UNROLL
  for (int round = 0; round < (Count + Threads - 1) / Threads; ++round) {
    const int i = round * Threads + thread.thread();
    if (Count % Threads == 0 || i < Count) body(i);
  }
}

/// Sets eight numbers of a shared array, rounded.
template <class T, class Context, class Array>
QLORA_DEVICE void store_eight(Context& thread, const Array& array, int at, const float (&from)[8]) {
  Pack<T, 8> pack;
  QLORA_UNROLL
  for (int i = 0; i < 8; i += 2) {
    const std::uint32_t pair = pair_of<T>(from[i], from[i + 1]);
    pack.at[i] = T::from_bits(static_cast<std::uint16_t>(pair));
    pack.at[i + 1] = T::from_bits(static_cast<std::uint16_t>(pair >> 16));
  }
  thread.template store_shared<8>(array, at, pack);
}

}  // namespace detail

/// The left factor: `Rows` rows of x, 32 columns at a time, in a ring of `Slots`.
template <class X, int Rows, int Slots, int Threads, bool ByWords, class Context>
class LeftTile {
  using T = Factor<X>;
  using Array =
      decltype(std::declval<Context&>().template shared<T, Slots * Rows * reduction, 0>());

 public:
  static constexpr int pieces = Rows * reduction / 8;

  QLORA_DEVICE LeftTile(Context& thread, const X* x, Index rows, Index cols, Index first)
      : array_(thread.template shared<T, Slots * Rows * reduction, 0>()),
        x_(x),
        rows_(rows),
        cols_(cols),
        first_(first) {}

  /// Begins to bring columns [k, k + 32) into a slot, zeros beyond the end. ByWords: cols is a
  /// multiple of 8 and x aligned to 16 bytes.
  QLORA_DEVICE void stage(Context& thread, Index k, int slot) const {
    detail::share_out<pieces, Threads>(thread, [&](int piece) {
      const Index row = first_ + piece / 4, col = k + 8 * (piece % 4);
      const int at = slot * Rows * reduction + 8 * piece;
      const X* from = x_ + row * cols_ + col;
      if constexpr (ByWords) {
        const bool there = row < rows_ && col < cols_;
        if constexpr (std::is_same_v<X, T>) {
          thread.template copy_async<8>(array_, at, there ? from : x_, there);
        } else {
          float number[8] = {};
          if (there) detail::load_eight(thread, from, number);
          detail::store_eight<T>(thread, array_, at, number);
        }
      } else {
        float number[8] = {};
        QLORA_UNROLL
        for (int i = 0; i < 8; ++i)
          if (row < rows_ && col + i < cols_) number[i] = static_cast<float>(thread.load(from + i));
        detail::store_eight<T>(thread, array_, at, number);
      }
    });
  }

  /// The fragments of 16 rows from `row` of the tile, for both steps of a slot.
  QLORA_DEVICE void fragments(Context& thread, int slot, int row, Fragment<4> (&to)[2]) const {
    const int at = (slot * Rows + row + thread.lane() / 4) * reduction + 8 * (thread.lane() % 4);
    const auto upper = thread.template load_shared<8>(array_, at);
    const auto lower = thread.template load_shared<8>(array_, at + 8 * reduction);
    const auto up = __builtin_bit_cast(Fragment<4>, upper);
    const auto low = __builtin_bit_cast(Fragment<4>, lower);
    QLORA_UNROLL
    for (int step = 0; step < 2; ++step)
      to[step] = {{up.at[2 * step], low.at[2 * step], up.at[2 * step + 1], low.at[2 * step + 1]}};
  }

 private:
  Array array_;
  const X* x_;
  Index rows_, cols_, first_;
};

/// Where sums go: y = sum, or y += sum.
template <class Y>
struct Output {
  Y* y;
  Index rows, cols;
  bool accumulate = false;

  /// Stores Count sums at (row, col + i); what lies outside is left out. `whole`: Count consecutive
  /// ones start at a multiple of their size, and all are inside or none.
  template <int Count, class Context>
  QLORA_DEVICE void store(Context& thread, Index row, Index col, float (&sum)[Count],
                          bool whole) const {
    if (row >= rows || col >= cols) return;
    Y* to = y + row * cols + col;
    constexpr int piece = Count * sizeof(Y) <= 16 ? Count : static_cast<int>(16 / sizeof(Y));
    if (whole) {
      QLORA_UNROLL
      for (int i = 0; i < Count; i += piece) {
        auto* place = reinterpret_cast<Pack<Y, piece>*>(to + i);
        Pack<Y, piece> pack;
        if (accumulate) {
          pack = thread.load(place);
          QLORA_UNROLL
          for (int k = 0; k < piece; ++k) sum[i + k] += static_cast<float>(pack.at[k]);
        }
        QLORA_UNROLL
        for (int k = 0; k < piece; ++k) pack.at[k] = static_cast<Y>(sum[i + k]);
        thread.store(place, pack);
      }
    } else {
      QLORA_UNROLL
      for (int i = 0; i < Count; ++i)
        if (col + i < cols) {
          if (accumulate) sum[i] += static_cast<float>(thread.load(to + i));
          thread.store(to + i, static_cast<Y>(sum[i]));
        }
    }
  }
};

/// Sums begin with LoRA's part, in float. row_of(i, half) and col_of(j, other) are the places of
/// sum[i][j][2 half + other].
template <int RowTiles, int ColTiles, class Context, class RowOf, class ColOf>
QLORA_DEVICE void begin_with(Context& thread, const LowRank& low_rank, Index rows, Index cols,
                             RowOf row_of, ColOf col_of, float (&sum)[RowTiles][ColTiles][4]) {
  for (int k = 0; k < low_rank.rank; ++k) {
    float left[2 * RowTiles], right[2 * ColTiles];
    QLORA_UNROLL
    for (int i = 0; i < 2 * RowTiles; ++i) {
      const Index row = row_of(i / 2, i % 2);
      left[i] =
          row < rows ? low_rank.scale * thread.load(low_rank.left + row * low_rank.rank + k) : 0.f;
    }
    QLORA_UNROLL
    for (int j = 0; j < 2 * ColTiles; ++j) {
      const Index col = col_of(j / 2, j % 2);
      right[j] =
          col < cols
              ? thread.load(low_rank.right + k * low_rank.rank_stride + col * low_rank.col_stride)
              : 0.f;
    }
    QLORA_UNROLL
    for (int i = 0; i < RowTiles; ++i) QLORA_UNROLL
    for (int j = 0; j < ColTiles; ++j) QLORA_UNROLL
    for (int at = 0; at < 4; ++at) sum[i][j][at] += left[2 * i + at / 2] * right[2 * j + at % 2];
  }
}

}  // namespace qlora::cuda
