/// Products of dense float matrices with one short side: the adapters'. In float, tile by tile.
///
///     // low = x Aᵀ: [tokens, rank]
///     DenseProduct<64, 16>{.left = {x, in, 1}, .right = {a, 1, in}, .out = low, .rows = tokens,
///                          .cols = rank, .inner = in};
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/cuda/kernel.hpp"

namespace qlora::inline QLORA_ABI::cuda {

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

}  // namespace detail

/// A matrix in memory; a stride of 1 says along which side it is consecutive.
struct Strided {
  const float* data;
  Index row_stride, col_stride;
  /// Where an element lies.
  QLORA_DEVICE const float* at(Index row, Index col) const {
    return data + row * row_stride + col * col_stride;
  }
};

/// out = scale left right, or out += that. left: [rows, inner], right: [inner, cols], out: [rows,
/// cols] row-major. Every number is summed in the order of `inner`.
template <int TileRows, int TileCols>
struct DenseProduct {
  static constexpr int threads = 128;
  static constexpr const char* name = "dense_product";
  static constexpr int depth = 32;
  enum SharedArray { left_array, right_array };  // tags of the tiles in shared memory
  /// A thread's part of a tile.
  static constexpr int own_rows = TileRows > TileCols ? 4 : 2;
  static constexpr int own_cols = TileRows * TileCols / threads / own_rows;
  static_assert(TileRows % own_rows == 0 && TileCols % own_cols == 0 &&
                    own_rows * own_cols * threads == TileRows * TileCols,
                "DenseProduct: 128 threads must share the tile out evenly, as 64 x 16 and 16 x 64");

  Strided left, right;
  float* out;
  Index rows, cols, inner;
  float scale = 1;
  bool accumulate = false;

  /// Blocks of threads in a launch.
  Index blocks() const { return blocks_for(rows, TileRows) * blocks_for(cols, TileCols); }

  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    auto a = thread.template shared<float, TileRows*(depth + 1), left_array>();
    auto b = thread.template shared<float, depth*(TileCols + 1), right_array>();
    const Index row_blocks = (rows + TileRows - 1) / TileRows;
    const Index first_row = thread.block() % row_blocks * TileRows;
    const Index first_col = thread.block() / row_blocks * TileCols;
    constexpr int across = TileCols / own_cols;
    const int row = thread.thread() / across * own_rows, col = thread.thread() % across;
    float sum[own_rows][own_cols] = {};
    for (Index k = 0; k < inner; k += depth) {
      detail::share_out<TileRows * depth, threads>(thread, [&](int i) {
        const int r = left.col_stride == 1 ? i / depth : i % TileRows;
        const int c = left.col_stride == 1 ? i % depth : i / TileRows;
        a[r * (depth + 1) + c] = first_row + r < rows && k + c < inner
                                     ? thread.load(left.at(first_row + r, k + c))
                                     : 0.f;
      });
      detail::share_out<depth * TileCols, threads>(thread, [&](int i) {
        const int r = right.col_stride == 1 ? i / TileCols : i % depth;
        const int c = right.col_stride == 1 ? i % TileCols : i / depth;
        b[r * (TileCols + 1) + c] = k + r < inner && first_col + c < cols
                                        ? thread.load(right.at(k + r, first_col + c))
                                        : 0.f;
      });
      thread.barrier();
      for (int d = 0; d < depth; ++d) {
        float l[own_rows], r[own_cols];
        QLORA_UNROLL
        for (int i = 0; i < own_rows; ++i) l[i] = a[(row + i) * (depth + 1) + d];
        QLORA_UNROLL
        for (int j = 0; j < own_cols; ++j) r[j] = b[d * (TileCols + 1) + col + j * across];
        QLORA_UNROLL
        for (int i = 0; i < own_rows; ++i) {
          QLORA_UNROLL
          for (int j = 0; j < own_cols; ++j) sum[i][j] += l[i] * r[j];
        }
      }
      thread.barrier();
    }
    QLORA_UNROLL
    for (int i = 0; i < own_rows; ++i) {
      QLORA_UNROLL
      for (int j = 0; j < own_cols; ++j) {
        const Index r = first_row + row + i, c = first_col + col + j * across;
        if (r >= rows || c >= cols) continue;
        float* to = out + r * cols + c;
        thread.store(to, scale * sum[i][j] + (accumulate ? thread.load(to) : 0.f));
      }
    }
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
