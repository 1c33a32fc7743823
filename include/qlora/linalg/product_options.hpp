/// What a product may do besides multiplying, and in which arithmetic.
///
///     // y = x Wᵀ + y + s low Bᵀ, in one pass over y
///     forward_product<float>(x, w.view(), y, {.beta = 1, .low_rank = {&low, &b, s}});
#pragma once

#include <string_view>

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/core/side.hpp"

namespace qlora::inline QLORA_ABI {

/// The arithmetic of products with weights. With bfloat16 both factors are rounded to it, to
/// nearest, and the sums are float32.
enum class Compute {
  automatic,  ///< bfloat16 where the processor has instructions for it that are compiled in
  float32,
  bfloat16
};

namespace linalg_detail {
/// Up to this many rows of x a product goes row by row of a packed W, above it through blocks.
inline constexpr Index few_tokens = 8;
}  // namespace linalg_detail

/// "auto", "float32" or "bfloat16". Throws OptionError for another name.
inline Compute compute_from_name(std::string_view name) {
  if (name == "auto") return Compute::automatic;
  if (name == "float32") return Compute::float32;
  require<OptionError>(name == "bfloat16", "compute: expected auto, float32 or bfloat16, found '",
                       name, "'");
  return Compute::bfloat16;
}

/// scale left rightᵀ for y, scale left right for dx: a LoRA adapter's share.
template <Scalar T>
struct LowRank {
  const RowMatrix<T>* left = nullptr;   ///< [tokens, rank]
  const RowMatrix<T>* right = nullptr;  ///< B [out, rank] for y, A [rank, in] for dx
  T scale = 1;

  /// Whether there is an adapter.
  bool present() const { return left && right && left->cols() > 0; }
};

/// What a product adds to its output and how it is computed. It refers to the bias and to the
/// adapter's matrices, which must outlive the call.
template <Scalar T>
struct ProductOptions {
  T beta = 0;                             ///< of what the output held; with 0 that is not read
  const ColumnVector<T>* bias = nullptr;  ///< a number a column of the output
  LowRank<T> low_rank = {};               ///< added in T whatever `compute` says
  Compute compute = Compute::float32;     ///< counts where T is float

  /// Throws ShapeError unless everything fits an output of [tokens, cols] of the product `side`.
  void require_shapes(const char* what, Index tokens, Index cols, Side side) const {
    if (bias) require_shape(message(what, ": bias").c_str(), *bias, cols, 1);
    if (!low_rank.present()) return;
    const Index rank = low_rank.left->cols();
    require_shape(message(what, ": low_rank.left").c_str(), *low_rank.left, tokens, rank);
    require_shape(message(what, ": low_rank.right").c_str(), *low_rank.right,
                  side == Side::forward ? cols : rank, side == Side::forward ? rank : cols);
  }

  /// Makes the output ready for a product to be added.
  void begin(MatrixRef<T> y) const {
    if (beta == 0) {
      y.setZero();
    } else if (beta != 1) {
      y *= beta;
    }
  }

  /// Adds bias and adapter to what the product `side` gave.
  void finish(MatrixRef<T> y, Side side) const {
    if (bias) y.rowwise() += bias->transpose();
    if (!low_rank.present()) return;
    parallel_ranges(y.rows(), grain_for(y.rows(), 64), [&](Index first, Index last) {
      const Index count = last - first;
      const auto left = low_rank.scale * low_rank.left->middleRows(first, count);
      if (side == Side::forward) {
        y.middleRows(first, count).noalias() += left * low_rank.right->transpose();
      } else {
        y.middleRows(first, count).noalias() += left * *low_rank.right;
      }
    });
  }
};

}  // namespace qlora::inline QLORA_ABI
