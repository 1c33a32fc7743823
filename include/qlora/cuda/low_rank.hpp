/// LoRA's part of a product on a device.
///
///     // y = x Wᵀ + s low Bᵀ
///     kernel.low_rank = qlora::cuda::LowRank::forward(low, b, rank, s);
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/cuda/context.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// What LoRA adds to a product: scale * left right, with left [tokens, rank] row-major and
/// right(k, col) = right[k * rank_stride + col * col_stride].
struct LowRank {
  const float* left = nullptr;
  const float* right = nullptr;
  int rank = 0;
  float scale = 0;
  Index rank_stride = 0, col_stride = 0;

  /// s low Bᵀ, with low = x Aᵀ: [tokens, rank] and B: [out, rank].
  static LowRank forward(const float* low, const float* b, int rank, float scale) {
    return {low, b, rank, scale, 1, rank};
  }
  /// s dlow A, with dlow = dy B: [tokens, rank] and A: [rank, in].
  static LowRank backward(const float* dlow, const float* a, int rank, float scale, Index in) {
    return {dlow, a, rank, scale, in, 1};
  }
};

/// Sums begin with LoRA's part, in float. sum[i][j][2 half + other] is at row_of(j, other) and
/// col_of(2 i + half).
template <int RowTiles, class Context, class RowOf, class ColOf>
QLORA_DEVICE void begin_with(Context& thread, const LowRank& low_rank, Index rows, Index cols,
                             RowOf row_of, ColOf col_of, float (&sum)[2][RowTiles][4]) {
  for (int k = 0; k < low_rank.rank; ++k) {
    float left[2 * RowTiles], right[4];
    QLORA_UNROLL
    for (int j = 0; j < 2 * RowTiles; ++j) {
      const Index row = row_of(j / 2, j % 2);
      left[j] =
          row < rows ? low_rank.scale * thread.load(low_rank.left + row * low_rank.rank + k) : 0.f;
    }
    QLORA_UNROLL
    for (int q = 0; q < 4; ++q) {
      const Index col = col_of(q);
      right[q] =
          col < cols
              ? thread.load(low_rank.right + k * low_rank.rank_stride + col * low_rank.col_stride)
              : 0.f;
    }
    QLORA_UNROLL
    for (int q = 0; q < 4; ++q) {
      QLORA_UNROLL
      for (int j = 0; j < 2 * RowTiles; ++j)
        sum[q / 2][j / 2][2 * (q % 2) + j % 2] += left[j] * right[q];
    }
  }
}

}  // namespace qlora::inline QLORA_ABI::cuda
