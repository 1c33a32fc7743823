/// Products with a weight matrix in blocks that stay in the caches. The weight may be packed, and
/// then decoding is what other libraries' packing pass is, or dense; the arithmetic is that of
/// micro_kernel.hpp, bfloat16.hpp or amx.hpp.
///
///   blocked_forward_product<Float32>(x, weight, y);   // y = x Wᵀ
///   blocked_backward_product<Float32>(dy, weight, dx);            // dx = dy W
///
/// For y, the rows of W are broadcast and vectors run along the tokens: a row decodes in its own
/// order, nothing is transposed but x, once a call. For dx, vectors run along a row of W as it is.
/// Threads own rows or columns of W; every element is summed in one order.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/linalg/amx.hpp"

#if QLORA_HAS_VECTORS

#include <algorithm>
#include <type_traits>

#include "qlora/core/parallel.hpp"
#include "qlora/linalg/panels.hpp"
#include "qlora/linalg/product_options.hpp"
#include "qlora/linalg/scratch.hpp"

namespace qlora::inline QLORA_ABI::linalg_detail {

inline constexpr Index block_tokens = 256;  // rows of x that share a decoded part
inline constexpr Index block_cols = 256;    // of W, for dx
template <StripArithmetic Arithmetic>
inline constexpr Index block_rows = 4 * Arithmetic::tile_rows;

struct PackedActivations;
struct PackedLowRank;
struct DecodedPart;
struct ResultPart;
struct LowRankRows;

/// scale * m in the caller's scratch, rows beside each other.
inline const float* scaled_rows(const RowMatrixXf& m, float scale) {
  float* to = scratch<LowRankRows>(m.size());
  for (Index i = 0; i < m.size(); ++i) to[i] = scale * m.data()[i];
  return to;
}

/// y = x Wᵀ and what `options` adds. x: [tokens, in] of float or bfloat16, w: [out, in], y:
/// [tokens, out].
template <StripArithmetic Arithmetic, class X>
void blocked_forward_product(const ConstMatrixRef<X>& x, const WeightRef& w, MatrixRef<float> y,
                             const ProductOptions<float>& options = {}) {
  using Number = typename Arithmetic::Number;
  constexpr Index tile_width = Arithmetic::tile_width, block = block_rows<Arithmetic>;
  constexpr Index stride = panel_stride<Arithmetic>;
  static_assert(block <= most_stored_rows);
  const Index depth = padded_depth<Arithmetic>(w.cols());
  const LowRank<float>& low_rank = options.low_rank;
  const Index rank = low_rank.present() ? low_rank.left->cols() : 0;
  const float* right = rank > 0 ? scaled_rows(*low_rank.right, low_rank.scale) : nullptr;
  const Index most = std::min(block_tokens, x.rows());
  Number* packed =
      scratch<PackedActivations, Number>(strips<Arithmetic>(most) * depth * tile_width);
  float* packed_left = scratch<PackedLowRank>(padded<Arithmetic>(most) * rank);
  for (Index first = 0; first < x.rows(); first += block_tokens) {
    const Index tokens = std::min(block_tokens, x.rows() - first);
    const Index width = padded<Arithmetic>(tokens);
    pack_tokens<Arithmetic>(x, first, tokens, packed);
    if (rank > 0) pack_tokens<Float32, float>(*low_rank.left, first, tokens, packed_left);
    parallel_for((w.rows() + block - 1) / block, [&](Index at) {
      [[maybe_unused]] const typename Arithmetic::ThreadSetup use;
      const Index row = at * block, rows = std::min(block, w.rows() - row);
      Number* decoded = scratch<DecodedPart, Number>(block * stride);
      float* result = scratch<ResultPart>(block * padded<Arithmetic>(block_tokens));
      if (depth == 0) std::fill_n(result, rows * width, 0.f);
      for (Index k = 0; k < w.cols(); k += Arithmetic::block_depth) {
        const Index deep = std::min(Arithmetic::block_depth, w.cols() - k);
        const auto part = row_panel<Arithmetic>(w, row, rows, k, deep, decoded);
        multiply_strips<Arithmetic>(k == 0, rows, tokens, padded_depth<Arithmetic>(deep), part.data,
                                    part.stride, packed + k * tile_width, depth * tile_width,
                                    result, width);
      }
      if (rank > 0)
        multiply_strips<Float32>(false, rows, tokens, rank, right + row * rank, rank, packed_left,
                                 rank * Float32::tile_width, result, width);
      const float* bias = options.bias ? options.bias->data() + row : nullptr;
      store_transposed(result, width, rows, tokens, options.beta, bias,
                       y.data() + first * y.outerStride() + row, y.outerStride());
    });
  }
}

/// dx = dy W and what `options` adds. dy: [tokens, out] of float or bfloat16, w: [out, in], dx:
/// [tokens, in].
template <StripArithmetic Arithmetic, class X>
void blocked_backward_product(const ConstMatrixRef<X>& dy, const WeightRef& w, MatrixRef<float> dx,
                              const ProductOptions<float>& options = {}) {
  using Number = typename Arithmetic::Number;
  constexpr Index tile_width = Arithmetic::tile_width, block_depth = Arithmetic::block_depth;
  const LowRank<float>& low_rank = options.low_rank;
  const Index rank = low_rank.present() ? low_rank.left->cols() : 0;
  const float* left = rank > 0 ? scaled_rows(*low_rank.left, low_rank.scale) : nullptr;
  const auto rows = number_rows<Arithmetic>(dy);
  // Units of at most block_strips strips, as many for each thread, of nearly the same width.
  const Index all = strips<Arithmetic>(w.cols()), threads = thread_count();
  constexpr Index block_strips = block_cols / tile_width;
  const Index least = (all + block_strips - 1) / block_strips;
  const Index units = std::min(all, (least + threads - 1) / threads * threads);
  parallel_for(units, [&](Index unit) {
    [[maybe_unused]] const typename Arithmetic::ThreadSetup use;
    const Index col = unit * all / units * tile_width;
    const Index cols = std::min((unit + 1) * all / units * tile_width, w.cols()) - col;
    Number* packed = scratch<DecodedPart, Number>(block_depth * block_cols);
    auto to = dx.middleCols(col, cols);
    bool clear = options.beta == 0;
    if (!clear && options.beta != 1) to *= options.beta;
    if (clear && w.rows() == 0) to.setZero();
    for (Index k = 0; k < w.rows(); k += block_depth, clear = false) {
      const Index deep = std::min(block_depth, w.rows() - k);
      column_panel<Arithmetic>(w, k, deep, col, cols, packed);
      const Index full = padded_depth<Arithmetic>(deep);
      multiply_strips<Arithmetic>(clear, dy.rows(), cols, full, rows.data + k, rows.stride, packed,
                                  full * tile_width, to.data(), to.outerStride());
    }
    if (rank > 0) {
      float* strip = scratch<PackedLowRank>(rank * padded<Float32>(cols));
      column_panel<Float32>(WeightRef(*low_rank.right), 0, rank, col, cols, strip);
      multiply_strips<Float32>(false, dy.rows(), cols, rank, left, rank, strip,
                               rank * Float32::tile_width, to.data(), to.outerStride());
    }
    if (options.bias) to.rowwise() += options.bias->segment(col, cols).transpose();
  });
}

}  // namespace qlora::inline QLORA_ABI::linalg_detail

#endif  // QLORA_HAS_VECTORS
