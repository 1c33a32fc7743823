/// The innermost products: a few rows by two vectors of columns, kept in registers while the depth
/// runs. One implementation for every instruction set of Highway and for every arithmetic.
///
///   c[r][0..width) += sum over k of a[r][k] * b[k][0..width),   r < rows
///
/// a's numbers are broadcast, so its rows may lie anywhere; b's rows are vectors. Every element is
/// summed in the order of k, whatever tile it falls into.
///
/// An arithmetic says what numbers a and b hold and how a tile of them is multiplied: Float32 here,
/// bfloat16.hpp and amx.hpp beside it.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/quant/decode.hpp"

#if QLORA_HAS_VECTORS

#include <algorithm>
#include <concepts>
#include <utility>

namespace qlora::inline QLORA_ABI::linalg_detail {

using namespace simd;

/// Vectors beside each other in a tile.
inline constexpr int tile_vectors = 2;

/// An arithmetic that multiplies strip by strip: the numbers that it takes, how they are padded and
/// cut, what a thread needs meanwhile, and the product of some rows with a strip.
template <class A>
concept StripArithmetic = requires(bool clear, Index count, const typename A::Number* numbers,
                                   float* sums) {
  typename A::ThreadSetup;
  { A::depth_step } -> std::convertible_to<Index>;
  { A::row_step } -> std::convertible_to<Index>;
  { A::tile_rows } -> std::convertible_to<int>;
  { A::tile_width } -> std::convertible_to<Index>;
  { A::block_depth } -> std::convertible_to<Index>;
  A::strip(clear, count, count, numbers, count, numbers, count, sums, count);
};

/// An arithmetic of the lanes of vectors: loads of columns, numbers of rows in every lane, and
/// sum + a b.
template <class A>
concept LaneArithmetic = requires(const typename A::Number* numbers, FloatVector sum) {
  { A::depth_step } -> std::convertible_to<Index>;
  { A::tile_rows } -> std::convertible_to<int>;
  { A::tile_width } -> std::convertible_to<Index>;
  { A::multiply_add(A::broadcast(numbers), A::load(numbers), sum) } -> std::same_as<FloatVector>;
};

template <int... I, class Body>
HWY_INLINE void unrolled(std::integer_sequence<int, I...>, Body&& body) {
  (body(std::integral_constant<int, I>{}), ...);
}

/// A tile of exactly `Rows` rows and `Vectors` of columns in the vectors of `Lanes`. With `clear`,
/// c starts at zero.
template <LaneArithmetic Lanes, int Rows, int Vectors>
HWY_FLATTEN void multiply_tile(bool clear, const typename Lanes::Number* a, Index a_stride,
                               const typename Lanes::Number* b, Index depth, float* c,
                               Index c_stride) {
  const FloatTag d;
  constexpr Index step = Lanes::depth_step;
  constexpr auto rows = std::make_integer_sequence<int, Rows>{};
  constexpr auto vectors = std::make_integer_sequence<int, Vectors>{};
  FloatVector sum[Rows][Vectors];
  unrolled(rows, [&](auto r) HWY_ATTR {
    unrolled(vectors, [&](auto v) HWY_ATTR {
      sum[r][v] = clear ? hn::Zero(d) : hn::LoadU(d, c + r * c_stride + v * float_lanes);
    });
  });
  for (Index k = 0; k < depth; k += step, b += step * Lanes::tile_width) {
    decltype(Lanes::load(b)) columns[Vectors];
    unrolled(vectors,
             [&](auto v) HWY_ATTR { columns[v] = Lanes::load(b + v * step * float_lanes); });
    unrolled(rows, [&](auto r) HWY_ATTR {
      const auto each = Lanes::broadcast(a + r * a_stride + k);
      unrolled(vectors, [&](auto v) HWY_ATTR {
        sum[r][v] = Lanes::multiply_add(each, columns[v], sum[r][v]);
      });
    });
  }
  unrolled(rows, [&](auto r) HWY_ATTR {
    unrolled(vectors, [&](auto v) HWY_ATTR {
      hn::StoreU(sum[r][v], d, c + r * c_stride + v * float_lanes);
    });
  });
}

/// Any number of rows, in the tallest tiles that fit.
template <LaneArithmetic Lanes, int Vectors, int Rows = Lanes::tile_rows>
void multiply_tile_rows(bool clear, Index rows, const typename Lanes::Number* a, Index a_stride,
                        const typename Lanes::Number* b, Index depth, float* c, Index c_stride) {
  for (; rows >= Rows; rows -= Rows, a += Rows * a_stride, c += Rows * c_stride)
    multiply_tile<Lanes, Rows, Vectors>(clear, a, a_stride, b, depth, c, c_stride);
  constexpr int fewer = Rows > 8 ? 8 : Rows > 4 ? 4 : Rows / 2;
  if constexpr (fewer > 0)
    if (rows > 0)
      multiply_tile_rows<Lanes, Vectors, fewer>(clear, rows, a, a_stride, b, depth, c, c_stride);
}

/// The same for the first `columns` of a strip, which may need one vector only.
template <LaneArithmetic Lanes>
void multiply_strip(bool clear, Index rows, Index columns, const typename Lanes::Number* a,
                    Index a_stride, const typename Lanes::Number* b, Index depth, float* c,
                    Index c_stride) {
  if (columns <= float_lanes) {
    multiply_tile_rows<Lanes, 1>(clear, rows, a, a_stride, b, depth, c, c_stride);
  } else {
    multiply_tile_rows<Lanes, tile_vectors>(clear, rows, a, a_stride, b, depth, c, c_stride);
  }
}

/// Float32 in, float32 sums.
struct Float32 {
  using Number = float;
  /// Of the depth, in one multiply-add; depths are padded with zeros to a multiple of it.
  static constexpr Index depth_step = 1;
  /// Rows are readable up to a multiple of this.
  static constexpr Index row_step = 1;
  /// As many rows as the registers hold.
  static constexpr int tile_rows = float_lanes >= 16 ? 12 : float_lanes == 8 ? 6 : 8;
  static constexpr Index tile_width = tile_vectors * float_lanes;
  /// Of the sums, between additions to memory.
  static constexpr Index block_depth = 256;

  /// What a thread needs while it multiplies.
  struct ThreadSetup {};

  static HWY_INLINE FloatVector load(const float* b) { return hn::LoadU(FloatTag(), b); }
  static HWY_INLINE FloatVector broadcast(const float* a) { return hn::Set(FloatTag(), *a); }
  static HWY_INLINE FloatVector multiply_add(FloatVector a, FloatVector b, FloatVector sum) {
    return hn::MulAdd(a, b, sum);
  }

  /// Any number of rows by the first `columns` of a strip; whole vectors of c are written.
  static void strip(bool clear, Index rows, Index columns, const float* a, Index a_stride,
                    const float* b, Index depth, float* c, Index c_stride) {
    multiply_strip<Float32>(clear, rows, columns, a, a_stride, b, depth, c, c_stride);
  }
};

static_assert(LaneArithmetic<Float32> && StripArithmetic<Float32>);

/// c[rows][cols] (+)= a b for any number of rows, and of columns in strips of tile_width: strip s
/// of b begins at b + s * b_strip. All of a strip must be readable; of c only `cols` columns are
/// touched.
template <StripArithmetic Arithmetic>
void multiply_strips(bool clear, Index rows, Index cols, Index depth,
                     const typename Arithmetic::Number* a, Index a_stride,
                     const typename Arithmetic::Number* b, Index b_strip, float* c,
                     Index c_stride) {
  constexpr Index tile_width = Arithmetic::tile_width, tile_rows = Arithmetic::tile_rows;
  Index col = 0;
  for (; col + tile_width <= cols; col += tile_width, b += b_strip)
    Arithmetic::strip(clear, rows, tile_width, a, a_stride, b, depth, c + col, c_stride);
  const Index width = cols - col;
  if (width == 0) return;
  alignas(64) float whole[tile_rows * tile_width] = {};
  for (Index row = 0; row < rows; row += tile_rows) {
    const Index height = std::min<Index>(tile_rows, rows - row);
    float* tile = c + row * c_stride + col;
    for (Index r = 0; !clear && r < height; ++r)
      std::copy_n(tile + r * c_stride, width, whole + r * tile_width);
    Arithmetic::strip(clear, height, width, a + row * a_stride, a_stride, b, depth, whole,
                      tile_width);
    for (Index r = 0; r < height; ++r)
      std::copy_n(whole + r * tile_width, width, tile + r * c_stride);
  }
}

}  // namespace qlora::inline QLORA_ABI::linalg_detail

#endif  // QLORA_HAS_VECTORS
