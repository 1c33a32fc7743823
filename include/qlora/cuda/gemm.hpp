/// Products with a packed matrix on tensor cores: y = x Wᵀ and dx = dy W from the same bytes, with
/// LoRA's part as the start of the sums.
///
///     qlora::cuda::ForwardProduct<formats::nf4_dq, bfloat16, bfloat16, 128, 128, Reads::words>
///         kernel{w, x, {y, tokens, w.rows()}};
///     qlora::cuda::run<<<kernel.blocks(), kernel.threads>>>(kernel);
///
/// Activations come by asynchronous copies some steps ahead; weights are decoded once a block of
/// threads, rounded to 16 bits from the CPU's float, and summed in float.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/cuda/dropout.hpp"
#include "qlora/cuda/kernel.hpp"
#include "qlora/cuda/low_rank.hpp"
#include "qlora/cuda/tiles.hpp"

namespace qlora::inline QLORA_ABI::cuda {

namespace detail {

/// Both products. x is of float, float16 or bfloat16; float is rounded to bfloat16. A block gives
/// TileRows x TileCols of the result, a warp half of the rows and 32 of the columns. By words: only
/// where reads_by_words(w), w.rows() is a multiple of 8 for the backward product, and x is aligned
/// to 16 bytes.
template <class F, class X, class Y, int TileRows, int TileCols, Reads How, Side Which>
struct PackedProduct {
  static_assert(Format<F>, "a product of packed weights: the first argument must be a BlockFormat");
  static_assert(DeviceNumber<X> && DeviceNumber<Y>,
                "a product of packed weights: what it reads and writes must be float, float16 or "
                "bfloat16");
  static_assert(TileRows >= 16 && TileRows % 16 == 0,
                "a product of packed weights: the rows of a tile must be a multiple of 16");
  static_assert(TileCols >= 64 && TileCols % 64 == 0,
                "a product of packed weights: the columns of a tile must be a multiple of 64");
  static_assert(How == Reads::weights || has_words<F>,
                "a product of packed weights: this format cannot be read by words; use "
                "Reads::weights");
  static constexpr bool backward = Which == Side::backward;
  static constexpr int threads = TileCols / 32 * 2 * warp_size;
  static constexpr const char* name = backward ? "backward_product" : "forward_product";
  /// Steps of activations on their way, of what 48 KiB hold.
  static constexpr int slots = How == Reads::weights ? 2 : TileRows > 64 ? 3 : 4;
  QuantizedView<F> w;
  const X* x;
  Output<Y> out;
  LowRank low_rank = {};
  Dropout dropout = {};  ///< of the low-rank part

  /// Blocks of threads in a launch.
  Index blocks() const { return blocks_for(out.rows, TileRows) * blocks_for(out.cols, TileCols); }

  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    using T = Factor<X>;
    using Weights = WeightTile<F, T, TileCols, threads, Which, How, Context>;
    constexpr int row_tiles = TileRows / 16;
    const Index length = backward ? w.rows() : w.cols();
    const Index row_blocks = (out.rows + TileRows - 1) / TileRows;
    const Index first_row = thread.block() % row_blocks * TileRows;
    const Index first_col = thread.block() / row_blocks * TileCols;
    const int row = thread.warp() % 2 * (TileRows / 2), part = thread.warp() / 2;
    const auto row_of = [&](int j, int other) {
      return first_row + row + 8 * j + thread.lane() % 4 * 2 + other;
    };
    const auto col_of = [&](int q) {
      return first_col + Weights::output(part, thread.lane() / 4, q);
    };
    float sum[2][row_tiles][4] = {};
    begin_with(thread, low_rank, out.rows, out.cols, row_of, col_of, sum);
    if (dropout.acts()) drop(row_of, col_of(0), sum);

    ActivationTile<X, TileRows, slots, threads, How, Context> activations(thread, x, out.rows,
                                                                          length, first_row);
    Weights weights(thread, w, first_col);
    const int steps = static_cast<int>((length + reduction - 1) / reduction);
    for (int s = 0; s < slots - 1; ++s) {
      if (s < steps) activations.stage(thread);
      thread.commit_copies();
    }
    if (steps > 0) {
      weights.fetch(thread, 0);
      weights.decode(thread, 0);
    }
    if (steps > 1) weights.fetch(thread, reduction);
    int slot = 0;
    for (int s = 0; s < steps; ++s) {
      thread.template wait_copies<slots - 2>();
      thread.barrier();
      if (s + slots - 1 < steps) activations.stage(thread);
      thread.commit_copies();
      if (s + 1 < steps) weights.decode(thread, (s + 1) % 2);
      if (s + 2 < steps) weights.fetch(thread, (s + 2) * reduction);
      Fragment<4> a[2][2];
      QLORA_UNROLL
      for (int i = 0; i < 2; ++i) weights.fragments(thread, s % 2, part, i, a[i]);
      QLORA_UNROLL
      for (int j = 0; j < row_tiles; ++j) {
        Fragment<2> b[2];
        activations.fragments(thread, slot, row + 8 * j, b);
        QLORA_UNROLL
        for (int i = 0; i < 2; ++i) {
          QLORA_UNROLL
          for (int step = 0; step < 2; ++step)
            thread.template multiply<T>(sum[i][j], a[i][step], b[step]);
        }
      }
      slot = slot + 1 < slots ? slot + 1 : 0;
    }

    const bool whole = out.cols % 4 == 0 && is_aligned(out.y, 4 * sizeof(Y));
    QLORA_UNROLL
    for (int j = 0; j < row_tiles; ++j) {
      QLORA_UNROLL
      for (int other = 0; other < 2; ++other) {
        float four[4];
        QLORA_UNROLL
        for (int q = 0; q < 4; ++q) four[q] = sum[q / 2][j][2 * (q % 2) + other];
        out.store(thread, row_of(j, other), col_of(0), four, whole);
      }
    }
  }

 private:
  /// Drops sums: a lane's four columns are a block of random numbers. Which ones is found in a loop
  /// that is short in code, as it runs once.
  template <int RowTiles, class RowOf>
  QLORA_DEVICE void drop(RowOf row_of, Index col, float (&sum)[2][RowTiles][4]) const {
    static_assert(RowTiles * 8 <= 64);
    std::uint64_t kept = 0;
    QLORA_UNROLL_BY(1)
    for (int j = 0; j < 2 * RowTiles; ++j) {
      const PhiloxBlock random = dropout.words(dropout.stream(row_of(j / 2, j % 2)), col / 4);
      QLORA_UNROLL
      for (int q = 0; q < 4; ++q)
        if (!dropout.drops(random.word[q])) kept |= std::uint64_t{1} << (4 * j + q);
    }
    QLORA_UNROLL
    for (int j = 0; j < 2 * RowTiles; ++j) {
      QLORA_UNROLL
      for (int q = 0; q < 4; ++q)
        sum[q / 2][j / 2][2 * (q % 2) + j % 2] *=
            (kept >> (4 * j + q) & 1) != 0 ? dropout.keep_scale : 0.f;
    }
  }
};

}  // namespace detail

/// y = x Wᵀ with x: [tokens, in] and y: [tokens, out].
template <class F, class X, class Y, int TileRows, int TileCols, Reads How>
using ForwardProduct = detail::PackedProduct<F, X, Y, TileRows, TileCols, How, Side::forward>;
/// dx = dy W with dy: [tokens, out] and dx: [tokens, in]. By words only where w.rows() is a
/// multiple of 8.
template <class F, class X, class Y, int TileRows, int TileCols, Reads How>
using BackwardProduct = detail::PackedProduct<F, X, Y, TileRows, TileCols, How, Side::backward>;

}  // namespace qlora::inline QLORA_ABI::cuda
