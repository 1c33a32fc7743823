/// Products with a packed matrix on tensor cores: y = x Wᵀ and dx = dy W from the same bytes, with
/// LoRA's part added on the way to memory.
///
///     qlora::cuda::Gemm<Nf4Dq, bfloat16, bfloat16, 64, 64, true> kernel{w, x, {y, tokens,
///     w.rows()}}; qlora::cuda::run<<<kernel.blocks(), kernel.threads>>>(kernel);
///
/// Codes and activations come by asynchronous copies in a ring of slots; weights are decoded in
/// registers on the way to the fragments, rounded to 16 bits from the CPU's float, and summed in
/// float. Both kernels take a matrix that cannot be read by words weight by weight into the tile.
#pragma once

#include "qlora/cuda/tiles.hpp"

namespace qlora::cuda {

namespace detail {

/// The scales of a tile's weights, and its codes, in a ring of slots. `Lines` rows of w, `Columns`
/// of its columns.
template <class F, int Lines, int Columns, int Slots, int Threads, class Context>
class CodeTile {
  static constexpr int bits = F::code_bits, step = scale_step<F>;
  static constexpr int line_bytes = Columns * bits / 8, piece = piece_of(line_bytes);
  static constexpr int line_scales = Columns / step;
  using Scale = ScaleValue<F>;
  using Codes = decltype(std::declval<Context&>()
                             .template shared<std::uint8_t, Slots * Lines * line_bytes, 1>());
  using Scales =
      decltype(std::declval<Context&>().template shared<Scale, Slots * Lines * line_scales, 2>());

 public:
  QLORA_DEVICE CodeTile(Context& thread, const QuantizedView<F>& w)
      : codes_(thread.template shared<std::uint8_t, Slots * Lines * line_bytes, 1>()),
        scales_(thread.template shared<Scale, Slots * Lines * line_scales, 2>()),
        w_(w) {}

  /// Begins to bring rows of w from `row` and columns from `col` into a slot; those outside count
  /// as zeros. place(line): where a line lies in the slot.
  template <class Place>
  QLORA_DEVICE void stage(Context& thread, Index row, Index col, int slot, Place place) const {
    constexpr int line_pieces = line_bytes / piece;
    share_out<Lines * line_pieces, Threads>(thread, [&](int i) {
      const int line = i / line_pieces, part = i % line_pieces;
      const bool there = row + line < w_.rows() && col < w_.cols();
      const Index first = there ? ((row + line) * w_.cols() + col) / 8 * bits : 0;
      thread.template copy_async<piece>(codes_,
                                        (slot * Lines + place(line)) * line_bytes + part * piece,
                                        w_.codes() + (there ? first + part * piece : 0), there);
    });
    share_out<Lines * line_scales, Threads>(thread, [&](int i) {
      const int line = i / line_scales, part = i % line_scales;
      const bool there = row + line < w_.rows() && col < w_.cols();
      const Index first = (row + line) * w_.cols() + col + part * step;
      scales_[(slot * Lines + place(line)) * line_scales + part] =
          there ? Scale(w_.scale()(first / w_.block_size())) : Scale{};
    });
  }

  /// Eight weights' codes and their scale: group `group` of the line at `place`.
  QLORA_DEVICE GroupWord<bits> codes(Context& thread, int slot, int place, int group) const {
    return load_shared_group<bits>(thread, codes_,
                                   (slot * Lines + place) * line_bytes + group * bits);
  }
  QLORA_DEVICE Scale scale(int slot, int place, int group) const {
    return scales_[(slot * Lines + place) * line_scales + group * group_size / step];
  }

 private:
  Codes codes_;
  Scales scales_;
  const QuantizedView<F>& w_;
};

/// Slots of a ring: four, or as many as 48 KiB of shared memory hold beside the table.
template <class F>
constexpr int ring_slots(int left_rows, int weights) {
  if constexpr (!has_one_table<F> || scale_step<F> == 0) {
    return 2;
  } else {
    constexpr int table = (F::code_bits <= 4 ? warp_size : 1) * 4 << F::code_bits;
    constexpr int step = scale_step<F>, scale = sizeof(ScaleValue<F>);
    const int a_slot =
        left_rows * reduction * 2 + weights * F::code_bits / 8 + weights / step * scale;
    const int most = (48 * 1024 - table) / a_slot;
    return most < 4 ? most : 4;
  }
}

/// Runs over a reduction in steps of 32 with Slots - 1 of them on their way.
template <int Slots, class Context, class Stage, class Multiply>
QLORA_DEVICE void pipeline(Context& thread, Index length, Stage stage, Multiply multiply) {
  const int steps = static_cast<int>((length + reduction - 1) / reduction);
  QLORA_UNROLL
  for (int s = 0; s < Slots - 1; ++s) {
    if (s < steps) stage(Index{s} * reduction, s);
    thread.commit_copies();
  }
  for (int s = 0; s < steps; ++s) {
    thread.template wait_copies<Slots - 2>();
    thread.barrier();
    const int next = s + Slots - 1;
    if (next < steps) stage(Index{next} * reduction, next % Slots);
    thread.commit_copies();
    multiply(s % Slots);
  }
}

}  // namespace detail

/// y = x Wᵀ. x: [tokens, in] of float, float16 or bfloat16; float is rounded to bfloat16. A block
/// gives TileRows x TileCols of y, a warp half of the rows and 32 of the columns. ByWords: only
/// where reads_by_words(w) and x is aligned to 16 bytes.
template <class F, class X, class Y, int TileRows, int TileCols, bool ByWords>
struct Gemm {
  static_assert(TileRows % 32 == 0 && TileCols % 32 == 0);
  static constexpr int threads = TileCols / 32 * 2 * warp_size;
  static constexpr const char* name = "gemm";
  static constexpr int slots = ByWords ? detail::ring_slots<F>(TileRows, TileCols* reduction) : 2;
  QuantizedView<F> w;
  const X* x;
  Output<Y> out;
  LowRank low_rank = {};

  Index blocks() const { return blocks_for(out.rows, TileRows) * blocks_for(w.rows(), TileCols); }

  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    using T = Factor<X>;
    constexpr int row_tiles = TileRows / 32, col_tiles = 4;
    const Index row_blocks = (out.rows + TileRows - 1) / TileRows;
    const Index first_row = thread.block() % row_blocks * TileRows;
    const Index first_col = thread.block() / row_blocks * TileCols;
    const int row = thread.warp() % 2 * (TileRows / 2), col = thread.warp() / 2 * 32;
    const int g = thread.lane() / 4, t = thread.lane() % 4;
    const LeftTile<X, TileRows, slots, threads, ByWords, Context> left(thread, x, out.rows,
                                                                       w.cols(), first_row);
    const auto row_of = [&](int i, int half) { return first_row + row + 16 * i + 8 * half + g; };
    const auto col_of = [&](int j, int other) { return first_col + col + 8 * j + 2 * t + other; };
    float sum[row_tiles][col_tiles][4] = {};
    begin_with(thread, low_rank, out.rows, out.cols, row_of, col_of, sum);
    Fragment<4> a[row_tiles][2];
    const auto multiply = [&](int j, const Fragment<2>(&b)[2]) {
      QLORA_UNROLL
      for (int i = 0; i < row_tiles; ++i) QLORA_UNROLL
      for (int step = 0; step < 2; ++step)
        thread.template multiply<T>(sum[i][j], a[i][step], b[step]);
    };
    if constexpr (ByWords) {
      const ValueTable<F, Context> values(thread, w);
      const detail::CodeTile<F, TileCols, reduction, slots, threads, Context> codes(thread, w);
      detail::pipeline<slots>(
          thread, w.cols(),
          [&](Index k, int slot) {
            left.stage(thread, k, slot);
            codes.stage(thread, first_col, k, slot, [](int line) { return line; });
          },
          [&](int slot) {
            QLORA_UNROLL
            for (int i = 0; i < row_tiles; ++i) left.fragments(thread, slot, row + 16 * i, a[i]);
            QLORA_UNROLL
            for (int j = 0; j < col_tiles; ++j) {
              const int line = col + 8 * j + g;
              const auto word = codes.codes(thread, slot, line, t);
              const auto scale = codes.scale(slot, line, t);
              float v[8];
              QLORA_UNROLL
              for (int i = 0; i < 8; ++i)
                v[i] = scaled(values(code_of<F::code_bits>(word, i)), scale);
              multiply(j, {{{pair_of<T>(v[0], v[1]), pair_of<T>(v[2], v[3])}},
                           {{pair_of<T>(v[4], v[5]), pair_of<T>(v[6], v[7])}}});
            }
          });
    } else {
      auto tile = thread.template shared<T, slots * TileCols * reduction, 1>();
      detail::pipeline<slots>(
          thread, w.cols(),
          [&](Index k, int slot) {
            left.stage(thread, k, slot);
            QLORA_UNROLL_BY(1)
            for (int i = thread.thread(); i < TileCols * reduction; i += threads) {
              const Index line = first_col + i / reduction, at = k + i % reduction;
              tile[slot * TileCols * reduction + i] =
                  line < w.rows() && at < w.cols() ? T(w(line, at)) : T(0.f);
            }
          },
          [&](int slot) {
            QLORA_UNROLL
            for (int i = 0; i < row_tiles; ++i) left.fragments(thread, slot, row + 16 * i, a[i]);
            QLORA_UNROLL
            for (int j = 0; j < col_tiles; ++j) {
              const auto words = __builtin_bit_cast(
                  Fragment<4>, thread.template load_shared<8>(
                                   tile, (slot * TileCols + col + 8 * j + g) * reduction + 8 * t));
              multiply(j, {{{words.at[0], words.at[1]}}, {{words.at[2], words.at[3]}}});
            }
          });
    }
    const bool whole = out.cols % 2 == 0 && detail::is_aligned(out.y, 2 * sizeof(Y));
    QLORA_UNROLL
    for (int i = 0; i < row_tiles; ++i) QLORA_UNROLL
    for (int j = 0; j < col_tiles; ++j) QLORA_UNROLL
    for (int half = 0; half < 2; ++half) {
      float both[2] = {sum[i][j][2 * half], sum[i][j][2 * half + 1]};
      out.store(thread, row_of(i, half), col_of(j, 0), both, whole);
    }
  }
};

/// dx = dy W. dy: [tokens, out]. A block gives TileRows x TileCols of dx, a warp half of the rows
/// and 64 of the columns: a lane's word of codes has eight neighbouring columns, one for each of
/// eight products. ByWords: also w.rows() is a multiple of 8 and dy aligned to 16 bytes.
template <class F, class X, class Y, int TileRows, int TileCols, bool ByWords>
struct GemmTransposed {
  static_assert(TileRows % 32 == 0 && TileCols % 64 == 0);
  static constexpr int threads = TileCols / 64 * 2 * warp_size;
  static constexpr const char* name = "gemm_transposed";
  static constexpr int slots = ByWords ? detail::ring_slots<F>(TileRows, TileCols* reduction) : 2;
  QuantizedView<F> w;
  const X* x;
  Output<Y> out;
  LowRank low_rank = {};
  Dropout dropout = {};  ///< of the low-rank part

  Index blocks() const { return blocks_for(out.rows, TileRows) * blocks_for(w.cols(), TileCols); }

  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    using T = Factor<X>;
    constexpr int row_tiles = TileRows / 32, col_tiles = 8;
    const Index row_blocks = (out.rows + TileRows - 1) / TileRows;
    const Index first_row = thread.block() % row_blocks * TileRows;
    const Index first_col = thread.block() / row_blocks * TileCols;
    const int row = thread.warp() % 2 * (TileRows / 2), part = thread.warp() / 2;
    const int g = thread.lane() / 4, t = thread.lane() % 4;
    const LeftTile<X, TileRows, slots, threads, ByWords, Context> left(thread, x, out.rows,
                                                                       w.rows(), first_row);
    const auto row_of = [&](int i, int half) { return first_row + row + 16 * i + 8 * half + g; };
    const auto col_of = [&](int j, int other) {
      return first_col + 64 * part + 16 * t + 8 * other + j;
    };
    float sum[row_tiles][col_tiles][4] = {};
    begin_with(thread, low_rank, out.rows, out.cols, row_of, col_of, sum);
    if (dropout.acts()) {
      QLORA_UNROLL
      for (int i = 0; i < 2 * row_tiles; ++i) {
        const std::uint64_t stream = dropout.stream(row_of(i / 2, i % 2));
        float factor[4];
        QLORA_UNROLL
        for (int at = 0; at < 16; ++at) {
          if (at % 4 == 0) dropout.factors(stream, col_of(at % 8, at / 8) / 4, factor);
          sum[i / 2][at % 8][2 * (i % 2) + at / 8] *= factor[at % 4];
        }
      }
    }
    Fragment<4> a[row_tiles][2];
    const auto multiply = [&](int j, int step, const Fragment<2>& b) {
      QLORA_UNROLL
      for (int i = 0; i < row_tiles; ++i) thread.template multiply<T>(sum[i][j], a[i][step], b);
    };
    if constexpr (ByWords) {
      const ValueTable<F, Context> values(thread, w);
      // 64 columns after the other; in each the lines in an order that gives four lanes' rows,
      // eight apart, neighbouring places: no two lanes meet in a bank.
      constexpr int parts = TileCols / 64;
      const detail::CodeTile<F, reduction, 64, slots * parts, threads, Context> codes(thread, w);
      const auto place = [](int line) { return line % 8 * 4 + line / 8; };
      detail::pipeline<slots>(
          thread, w.rows(),
          [&](Index k, int slot) {
            left.stage(thread, k, slot);
            QLORA_UNROLL
            for (int p = 0; p < parts; ++p)
              codes.stage(thread, k, first_col + 64 * p, slot * parts + p, place);
          },
          [&](int slot) {
            QLORA_UNROLL
            for (int i = 0; i < row_tiles; ++i) left.fragments(thread, slot, row + 16 * i, a[i]);
            QLORA_UNROLL
            for (int step = 0; step < 2; ++step) {
              GroupWord<F::code_bits> word[4];
              ScaleValue<F> scale[4];
              QLORA_UNROLL
              for (int i = 0; i < 4; ++i) {
                const int at = place(8 * t + 4 * step + i);
                word[i] = codes.codes(thread, slot * parts + part, at, g);
                scale[i] = codes.scale(slot * parts + part, at, g);
              }
              QLORA_UNROLL
              for (int j = 0; j < col_tiles; ++j) {
                float v[4];
                QLORA_UNROLL
                for (int i = 0; i < 4; ++i)
                  v[i] = scaled(values(code_of<F::code_bits>(word[i], j)), scale[i]);
                multiply(j, step, {{pair_of<T>(v[0], v[1]), pair_of<T>(v[2], v[3])}});
              }
            }
          });
    } else {
      auto tile = thread.template shared<T, slots * TileCols * reduction, 1>();
      detail::pipeline<slots>(
          thread, w.rows(),
          [&](Index k, int slot) {
            left.stage(thread, k, slot);
            QLORA_UNROLL_BY(1)
            for (int i = thread.thread(); i < TileCols * reduction; i += threads) {
              const Index line = k + i / TileCols, at = first_col + i % TileCols;
              tile[(slot * TileCols + i % TileCols) * reduction + i / TileCols] =
                  line < w.rows() && at < w.cols() ? T(w(line, at)) : T(0.f);
            }
          },
          [&](int slot) {
            QLORA_UNROLL
            for (int i = 0; i < row_tiles; ++i) left.fragments(thread, slot, row + 16 * i, a[i]);
            QLORA_UNROLL
            for (int step = 0; step < 2; ++step) QLORA_UNROLL
            for (int j = 0; j < col_tiles; ++j)
              multiply(
                  j, step,
                  __builtin_bit_cast(
                      Fragment<2>, thread.template load_shared<4>(
                                       tile, (slot * TileCols + 64 * part + 8 * g + j) * reduction +
                                                 8 * t + 4 * step)));
          });
    }
    const bool whole = out.cols % 8 == 0 && detail::is_aligned(out.y, 16);
    QLORA_UNROLL
    for (int i = 0; i < row_tiles; ++i) QLORA_UNROLL
    for (int half = 0; half < 2; ++half) QLORA_UNROLL
    for (int other = 0; other < 2; ++other) {
      float eight[8];
      QLORA_UNROLL
      for (int j = 0; j < col_tiles; ++j) eight[j] = sum[i][j][2 * half + other];
      out.store(thread, row_of(i, half), col_of(0, other), eight, whole);
    }
  }
};

}  // namespace qlora::cuda
