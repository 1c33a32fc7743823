/// The innermost products: a few rows by two vectors of columns, kept in registers while the depth
/// runs. One implementation for every instruction set of Highway.
///
///     c[r][0..width) += sum over k of a[r][k] * b[k][0..width),   r < rows
///
/// a's numbers are broadcast, so its rows may lie anywhere; b's rows are vectors. Every element is
/// summed in the order of k, whatever tile it falls into.
#pragma once

#include "qlora/quant/decode.hpp"

#if QLORA_VECTOR_DECODE

#include <algorithm>
#include <utility>

namespace qlora::detail {

/// Vectors beside each other in a tile, and rows under each other: as many as the registers hold.
inline constexpr int tile_vectors = 2;
inline constexpr int tile_rows = float_lanes >= 16 ? 12 : float_lanes == 8 ? 6 : 8;
inline constexpr Index tile_width = tile_vectors * float_lanes;

template <int... I, class Body>
HWY_INLINE void unrolled(std::integer_sequence<int, I...>, Body&& body) {
  (body(std::integral_constant<int, I>{}), ...);
}

/// One tile of exactly `Rows` rows and tile_width columns. With `Clear`, c starts at zero.
template <int Rows, bool Clear>
HWY_INLINE void multiply_tile(const float* a, Index a_stride, const float* b, Index b_stride,
                              Index depth, float* c, Index c_stride) {
  const FloatTag d;
  constexpr auto rows = std::make_integer_sequence<int, Rows>{};
  FloatVector sum[Rows][tile_vectors];
  unrolled(rows, [&](auto r) HWY_ATTR {
    if constexpr (Clear) {
      sum[r][0] = hn::Zero(d);
      sum[r][1] = hn::Zero(d);
    } else {
      sum[r][0] = hn::LoadU(d, c + r * c_stride);
      sum[r][1] = hn::LoadU(d, c + r * c_stride + float_lanes);
    }
  });
  for (Index k = 0; k < depth; ++k, b += b_stride) {
    const auto b0 = hn::LoadU(d, b), b1 = hn::LoadU(d, b + float_lanes);
    unrolled(rows, [&](auto r) HWY_ATTR {
      const auto each = hn::Set(d, a[r * a_stride + k]);
      sum[r][0] = hn::MulAdd(each, b0, sum[r][0]);
      sum[r][1] = hn::MulAdd(each, b1, sum[r][1]);
    });
  }
  unrolled(rows, [&](auto r) HWY_ATTR {
    hn::StoreU(sum[r][0], d, c + r * c_stride);
    hn::StoreU(sum[r][1], d, c + r * c_stride + float_lanes);
  });
}

/// Up to tile_rows rows.
template <bool Clear, int Rows = tile_rows>
HWY_INLINE void multiply_tile_rows(Index rows, const float* a, Index a_stride, const float* b,
                                   Index b_stride, Index depth, float* c, Index c_stride) {
  if (rows >= Rows) return multiply_tile<Rows, Clear>(a, a_stride, b, b_stride, depth, c, c_stride);
  if constexpr (Rows > 1)
    multiply_tile_rows<Clear, Rows - 1>(rows, a, a_stride, b, b_stride, depth, c, c_stride);
}

/// c[rows][cols] (+)= a b for any number of rows, and of columns in strips of tile_width: strip s
/// of b begins at b + s * b_strip, its rows b_stride apart. All of a strip must be readable; of c
/// only `cols` columns are touched.
template <bool Clear>
inline void multiply_strips(Index rows, Index cols, Index depth, const float* a, Index a_stride,
                            const float* b, Index b_stride, Index b_strip, float* c,
                            Index c_stride) {
  for (Index col = 0; col < cols; col += tile_width, b += b_strip) {
    const Index width = std::min(tile_width, cols - col);
    for (Index row = 0; row < rows; row += tile_rows) {
      const Index height = std::min<Index>(tile_rows, rows - row);
      float* tile = c + row * c_stride + col;
      if (width == tile_width) {
        multiply_tile_rows<Clear>(height, a + row * a_stride, a_stride, b, b_stride, depth, tile,
                                  c_stride);
      } else {
        alignas(64) float whole[tile_rows * tile_width] = {};
        for (Index r = 0; !Clear && r < height; ++r)
          std::copy_n(tile + r * c_stride, width, whole + r * tile_width);
        multiply_tile_rows<Clear>(height, a + row * a_stride, a_stride, b, b_stride, depth, whole,
                                  tile_width);
        for (Index r = 0; r < height; ++r)
          std::copy_n(whole + r * tile_width, width, tile + r * c_stride);
      }
    }
  }
}

/// The same, c cleared first or added to as `clear` says.
inline void multiply_strips(bool clear, Index rows, Index cols, Index depth, const float* a,
                            Index a_stride, const float* b, Index b_stride, Index b_strip, float* c,
                            Index c_stride) {
  const auto run = clear ? multiply_strips<true> : multiply_strips<false>;
  run(rows, cols, depth, a, a_stride, b, b_stride, b_strip, c, c_stride);
}

}  // namespace qlora::detail

#endif  // QLORA_VECTOR_DECODE
