/// Dense weights to codes and scales: absmax a block, then the nearest code of the scaled value.
///
///     qlora::QuantizedMatrix w = qlora::quantize<Nf4Dq>(dense);   // dense: any Eigen expression
///
/// The rounding steps are bitsandbytes', so codes are equal bit for bit: a full block is multiplied
/// by the reciprocal of its scale, a short last block divided by it, with 1e-38 as the least scale.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "qlora/core/error.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/quant/quantized_matrix.hpp"

namespace qlora {

/// What `quantize` does with NaN and infinity.
enum class on_non_finite {
  reject,   ///< throws NumericError that names row and column
  saturate  ///< NaN becomes 0, infinities the largest finite float
};

struct QuantizeOptions {
  on_non_finite non_finite = on_non_finite::reject;
  /// Weights a block; needed for formats of a Dynamic block size, otherwise the format's own.
  Index block_size = 0;
};

namespace detail {

inline constexpr float smallest_divisor = 1e-38f;

/// The scale of one block, and its codes written to the packed stream. x: the block's weights.
template <class F>
float quantize_block(const float* x, Index begin, Index count, Index block_size,
                     std::uint8_t* codes) {
  using Code = typename F::CodebookType;
  const float scale = F::NormalizationType::reference(x, count) / largest_value<Code>;
  const float divisor = std::max(scale, smallest_divisor);
  const bool full = count == block_size;
  constexpr Index chunk = 256;
  std::uint8_t code[chunk];
  for (Index from = 0; from < count; from += chunk) {
    const Index n = std::min(chunk, count - from);
    float scaled[chunk];
    if (full) {
      const float reciprocal = 1.f / divisor;
      for (Index i = 0; i < n; ++i) scaled[i] = x[from + i] * reciprocal;
    } else {
      for (Index i = 0; i < n; ++i) scaled[i] = x[from + i] / divisor;
    }
    for (Index i = 0; i < n; ++i)
      code[i] = encode<Code>(std::clamp(scaled[i], -largest_value<Code>, largest_value<Code>));
    for (Index i = 0; i < n; ++i) write_code<F::code_bits>(codes, begin + from + i, code[i]);
  }
  return full ? scale : divisor;
}

}  // namespace detail

/// Quantizes `rows * cols` row-major floats. Throws NumericError at the first value that is not
/// finite (unless told to saturate) and FormatError for a block size that the format does not have.
template <class F>
QuantizedMatrix<F> quantize(const float* weights, Index rows, Index cols,
                            const QuantizeOptions& options = {}) {
  static_assert(Format<F>, "quantize: the template argument must be a BlockFormat");
  const Index block_size = options.block_size > 0 ? options.block_size : Index{F::block_size};
  require<FormatError>(
      block_size > 0,
      "quantize: this format has a Dynamic block size; set QuantizeOptions::block_size");
  require<FormatError>(F::block_size == Dynamic || block_size == F::block_size,
                       "quantize: expected a block size of ", F::block_size, ", found ",
                       block_size);

  const Index count = rows * cols;
  const Index blocks = (count + block_size - 1) / block_size;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(packed_bytes(F::code_bits, count)), 0);
  std::vector<float> scales(static_cast<std::size_t>(blocks));
  // Ranges of 8 blocks end on a byte whatever the code's width, so threads never share one.
  const Index grain = grain_for(blocks, 8 * std::max<Index>(1, 4096 / (8 * block_size)), 4);
  parallel_ranges(blocks, grain, [&](Index first, Index last) {
    std::vector<float> cleaned;
    for (Index block = first; block < last; ++block) {
      const Index begin = block * block_size;
      const Index n = std::min(block_size, count - begin);
      const float* x = weights + begin;
      const float* bad = std::find_if_not(x, x + n, is_finite);
      if (bad != x + n) {
        const Index position = bad - weights;
        require<NumericError>(options.non_finite == on_non_finite::saturate, "quantize: row ",
                              position / cols, ", column ", position % cols,
                              ": expected a finite weight, found ", *bad);
        cleaned.assign(x, x + n);
        for (float& value : cleaned)
          if (!is_finite(value))
            value = value > 0 ? 3.4028235e38f : value < 0 ? -3.4028235e38f : 0.f;
        x = cleaned.data();
      }
      scales[static_cast<std::size_t>(block)] =
          detail::quantize_block<F>(x, begin, n, block_size, codes.data());
    }
  });
  // The rest of the last byte holds the code of 0.
  const Index filled = static_cast<Index>(codes.size()) * 8 / F::code_bits;
  for (Index i = count; i < filled; ++i)
    write_code<F::code_bits>(codes.data(), i, encode<typename F::CodebookType>(0.f));
  return {std::move(codes), F::ScaleType::store(scales), rows, cols, block_size};
}

/// Quantizes any Eigen expression; double is rounded to float first.
template <class F, class Derived>
QuantizedMatrix<F> quantize(const Eigen::MatrixBase<Derived>& weights,
                            const QuantizeOptions& options = {}) {
  if constexpr (std::is_same_v<Derived, RowMatrixXf>) {
    return quantize<F>(weights.derived().data(), weights.rows(), weights.cols(), options);
  } else {
    const RowMatrixXf dense = weights.template cast<float>();
    return quantize<F>(dense.data(), dense.rows(), dense.cols(), options);
  }
}

}  // namespace qlora
