/// Products with a weight matrix in float32, in blocks that stay in the caches. The weight may be
/// packed, and then decoding is what other libraries' packing pass is, or dense.
///
///     blocked_multiply_transposed(x, weight, y);   // y = x Wᵀ
///     blocked_multiply(dy, weight, dx);            // dx = dy W
///
/// For y, the rows of W are broadcast and vectors run along the tokens: a row decodes in its own
/// order, nothing is transposed but x, once a call. For dx, vectors run along a row of W as it is.
/// Threads own rows or columns of W; every element is summed in one order.
#pragma once

#include "qlora/linalg/micro_kernel.hpp"

#if QLORA_VECTOR_DECODE

#include <algorithm>

#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/linalg/scratch.hpp"
#include "qlora/quant/quantized_view.hpp"

namespace qlora::detail {

inline constexpr Index block_depth = 256;   // of the sums, between additions to memory
inline constexpr Index block_tokens = 256;  // rows of x that share a decoded part
inline constexpr Index block_rows = 4 * tile_rows;
inline constexpr Index block_strips = 8;
/// Rows of decoded weights lie a little apart from a power of two, so that they share no cache
/// sets.
inline constexpr Index decoded_stride = block_depth + 16;

/// A part of a weight in float: rows `stride` apart.
struct WeightRows {
  const float* data;
  Index stride;
};

/// What the blocked products ask of a weight: its shape, some rows of a range of columns, perhaps
/// in `buffer` (decoded_stride apart), and the same in strips: [strip][row][column of the strip],
/// the last strip padded with 0.
template <class F>
struct PackedWeight {
  const QuantizedView<F>& view;
  Index rows() const { return view.rows(); }
  Index cols() const { return view.cols(); }
  WeightRows part(Index row, Index rows, Index col, Index cols, float* buffer) const {
    for (Index r = 0; r < rows; ++r)
      view.decode_range((row + r) * view.cols() + col, cols, buffer + r * decoded_stride);
    return {buffer, decoded_stride};
  }
  void pack(Index row, Index rows, Index col, Index cols, float* to) const {
    alignas(64) float line[block_strips * tile_width] = {};
    for (Index r = 0; r < rows; ++r) {
      view.decode_range((row + r) * view.cols() + col, cols, line);
      for (Index k = 0; k < cols; k += tile_width)
        std::copy_n(line + k, tile_width, to + k * rows + r * tile_width);
    }
  }
};

/// Rows of a dense weight are used where they lie.
struct DenseWeight {
  const float* data;
  Index row_count, col_count, stride;
  Index rows() const { return row_count; }
  Index cols() const { return col_count; }
  WeightRows part(Index row, Index, Index col, Index, float*) const {
    return {data + row * stride + col, stride};
  }
  void pack(Index row, Index rows, Index col, Index cols, float* to) const {
    for (Index k = 0; k < cols; k += tile_width) {
      const Index width = std::min(tile_width, cols - k);
      for (Index r = 0; r < rows; ++r) {
        float* line = to + k * rows + r * tile_width;
        std::copy_n(data + (row + r) * stride + col + k, width, line);
        std::fill(line + width, line + tile_width, 0.f);
      }
    }
  }
};

constexpr Index strips(Index count) { return (count + tile_width - 1) / tile_width; }

struct PackedActivations;
struct DecodedPart;
struct ResultPart;

/// x as strips of tile_width tokens: [strip][col][token of the strip], the last one padded with 0.
inline void pack_tokens(const ConstMatrixRef<float>& x, Index first, Index tokens, float* packed) {
  parallel_for(strips(tokens), [&](Index strip) {
    float* to = packed + strip * x.cols() * tile_width;
    const Index width = std::min(tile_width, tokens - strip * tile_width);
    const float* from = x.data() + (first + strip * tile_width) * x.outerStride();
    if (width < tile_width) std::fill(to, to + x.cols() * tile_width, 0.f);
    constexpr Index run = 16;  // columns whose lines stay in the cache for all tokens
    for (Index col = 0; col < x.cols(); col += run) {
      const Index end = std::min(col + run, x.cols());
      for (Index token = 0; token < width; ++token)
        for (Index k = col; k < end; ++k)
          to[k * tile_width + token] = from[token * x.outerStride() + k];
    }
  });
}

/// y = scale x Wᵀ, or y += that. x: [tokens, in], w: [out, in], y: [tokens, out].
template <class Weight>
void blocked_multiply_transposed(const ConstMatrixRef<float>& x, const Weight& w,
                                 MatrixRef<float> y, float scale = 1, bool add = false) {
  const Index depth = w.cols();
  if (depth == 0 && !add) y.setZero();
  if (depth == 0) return;
  float* packed =
      scratch<PackedActivations>(strips(std::min(block_tokens, x.rows())) * depth * tile_width);
  for (Index first = 0; first < x.rows(); first += block_tokens) {
    const Index tokens = std::min(block_tokens, x.rows() - first);
    pack_tokens(x, first, tokens, packed);
    const Index width = strips(tokens) * tile_width;
    parallel_for((w.rows() + block_rows - 1) / block_rows, [&](Index block) {
      const Index row = block * block_rows, rows = std::min(block_rows, w.rows() - row);
      float* decoded = scratch<DecodedPart>(block_rows * decoded_stride);
      float* result = scratch<ResultPart>(block_rows * block_tokens);
      for (Index k = 0; k < depth; k += block_depth) {
        const Index deep = std::min(block_depth, depth - k);
        const WeightRows part = w.part(row, rows, k, deep, decoded);
        const float* b = packed + k * tile_width;
        multiply_strips(k == 0, rows, width, deep, part.data, part.stride, b, tile_width,
                        depth * tile_width, result, width);
      }
      for (Index token = 0; token < tokens; ++token) {
        float* to = y.data() + (first + token) * y.outerStride() + row;
        for (Index r = 0; r < rows; ++r)
          to[r] = (add ? to[r] : 0.f) + scale * result[r * width + token];
      }
    });
  }
}

/// dx = dy W, or dx += that. dy: [tokens, out], w: [out, in], dx: [tokens, in].
template <class Weight>
void blocked_multiply(const ConstMatrixRef<float>& dy, const Weight& w, MatrixRef<float> dx,
                      bool add = false) {
  // Units of at most block_strips strips, as many for each thread.
  const Index all = strips(w.cols()), threads = thread_count();
  const Index units = ((all + block_strips - 1) / block_strips + threads - 1) / threads * threads;
  const Index unit_cols = (all + units - 1) / std::max<Index>(1, units) * tile_width;
  parallel_for(unit_cols > 0 ? (w.cols() + unit_cols - 1) / unit_cols : 0, [&](Index unit) {
    const Index col = unit * unit_cols, cols = std::min(unit_cols, w.cols() - col);
    float* packed = scratch<DecodedPart>(block_depth * block_strips * tile_width);
    for (Index k = 0; k < w.rows(); k += block_depth) {
      const Index deep = std::min(block_depth, w.rows() - k);
      w.pack(k, deep, col, cols, packed);
      multiply_strips(k == 0 && !add, dy.rows(), cols, deep, dy.data() + k, dy.outerStride(),
                      packed, tile_width, deep * tile_width, dx.data() + col, dx.outerStride());
    }
    if (w.rows() == 0 && !add) dx.middleCols(col, cols).setZero();
  });
}

}  // namespace qlora::detail

#endif  // QLORA_VECTOR_DECODE
