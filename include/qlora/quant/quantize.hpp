/// Dense weights to codes and scales: absmax a block, then the nearest code of the scaled value.
///
///     qlora::QuantizedMatrix w = qlora::quantize<Nf4Dq>(dense);   // dense: any Eigen expression
///
/// The rounding steps are bitsandbytes', so codes are equal bit for bit: a full block is multiplied
/// by the reciprocal of its scale, a short last block divided by it, with 1e-38 as the least scale.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "qlora/core/error.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/quant/encode.hpp"
#include "qlora/quant/finite.hpp"
#include "qlora/quant/learn.hpp"
#include "qlora/quant/quantized_matrix.hpp"
#include "qlora/quant/split_outliers.hpp"

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

/// Weights [begin, begin + count) scaled by `to_code_value`, coded and packed.
template <class F, class ToCodeValue>
void encode_block(const float* x, Index begin, Index count, std::uint8_t* codes,
                  ToCodeValue to_code_value) {
  using Code = typename F::CodebookType;
  constexpr Index chunk = 256;
  float value[chunk];
  std::uint8_t code[chunk];
  for (Index from = 0; from < count; from += chunk) {
    const Index n = std::min(chunk, count - from);
    for (Index i = 0; i < n; ++i) value[i] = to_code_value(x[from + i]);
    if constexpr (has_codes_beyond<Code>)
      for (Index i = 0; i < n; ++i)
        value[i] = std::clamp(value[i], -largest_value<Code>, largest_value<Code>);
    encode_values<Code>(value, n, code);
    pack_codes<F::code_bits>(code, begin + from, n, codes);
  }
}

/// Codes by the scale as computed. Returns the reference to store: a short block's is no smaller
/// than 1e-38.
template <class F>
float encode_by_reference(const float* x, Index begin, Index count, bool full, float reference,
                          std::uint8_t* codes) {
  const float scale = reference / F::reference_value;
  const bool tiny = magnitude(scale) < smallest_divisor;
  const float divisor = !tiny ? scale : scale < 0 ? -smallest_divisor : smallest_divisor;
  if (full) {
    const float reciprocal = 1.f / divisor;
    encode_block<F>(x, begin, count, codes, [=](float w) { return w * reciprocal; });
    return reference;
  }
  encode_block<F>(x, begin, count, codes, [=](float w) { return w / divisor; });
  return tiny ? divisor * F::reference_value : reference;
}

/// Steps from the minimum, as ggml's Q4_1 takes them.
template <class F>
Range encode_by_reference(const float* x, Index begin, Index count, bool, Range reference,
                          std::uint8_t* codes) {
  const float step = (reference.maximum - reference.minimum) / F::reference_value;
  const float reciprocal = step > 0 ? 1.f / step : 0.f;
  encode_block<F>(x, begin, count, codes,
                  [=](float w) { return (w - reference.minimum) * reciprocal; });
  return reference;
}

/// Whether the codes of a format depend on its scales as stored.
template <class F>
inline constexpr bool codes_follow_stored = [] {
  if constexpr (requires { F::ScaleType::codes_follow_stored; })
    return F::ScaleType::codes_follow_stored;
  return false;
}();

/// NaN as 0, infinities as the largest finite float.
inline std::vector<float> saturated(const float* weights, Index count) {
  std::vector<float> cleaned(weights, weights + count);
  for (float& value : cleaned)
    if (!is_finite(value)) value = value > 0 ? 3.4028235e38f : value < 0 ? -3.4028235e38f : 0.f;
  return cleaned;
}

/// Quantizes block by block.
template <class F>
QuantizedMatrix<F> quantize_blocks(const float* weights, Index rows, Index cols,
                                   const QuantizeOptions& options) {
  using Code = typename F::CodebookType;
  constexpr bool learned = RuntimeCodebook<Code>;
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
  using Reference = ReferenceOf<typename F::NormalizationType>;
  std::vector<Reference> references(static_cast<std::size_t>(blocks));
  // Ranges of 8 blocks end on a byte whatever the code's width, so threads never share one.
  const Index grain = grain_for(blocks, 8 * std::max<Index>(1, 4096 / (8 * block_size)), 4);
  const auto for_each_block = [&](auto&& body) {
    parallel_ranges(blocks, grain, [&](Index first, Index last) {
      for (Index block = first; block < last; ++block) {
        const Index begin = block * block_size;
        body(block, begin, std::min(block_size, count - begin));
      }
    });
  };
  for_each_block([&](Index block, Index begin, Index n) {
    require_finite(weights, begin, n, cols);
    Reference& reference = references[static_cast<std::size_t>(block)];
    reference = F::NormalizationType::reference(weights + begin, n);
    if constexpr (!codes_follow_stored<F> && !learned)
      reference = encode_by_reference<F>(weights + begin, begin, n, n == block_size, reference,
                                         codes.data());
  });
  auto scale = F::ScaleType::store(references, F::reference_value);
  const auto view = scale.view();
  typename QuantizedMatrix<F>::CodebookStorage codebook;
  std::uint8_t code_of_zero = 0;
  if constexpr (learned) {
    codebook = learn<F>(weights, rows, cols, block_size, view);
    std::vector<TableEncoder> encoders;
    const std::span<const float> values(codebook.values);
    for (std::size_t at = 0; at < values.size(); at += Code::count)
      encoders.emplace_back(values.subspan(at, Code::count));
    for_each_block([&](Index block, Index begin, Index n) {
      encode_learned<F>(weights, begin, n, cols, encoders, view(block), codes.data());
    });
    code_of_zero = encoders.empty() ? std::uint8_t{0} : encoders.back()(0.f);
  } else {
    if constexpr (codes_follow_stored<F>)
      for_each_block([&](Index block, Index begin, Index n) {
        const auto stored = view(block);
        encode_block<F>(weights + begin, begin, n, codes.data(),
                        [=](float w) { return unscaled(w, stored); });
      });
    code_of_zero = encode<Code>(0.f);
  }
  // The rest of the last byte holds the code of 0.
  const Index filled = static_cast<Index>(codes.size()) * 8 / F::code_bits;
  for (Index i = count; i < filled; ++i) write_code<F::code_bits>(codes.data(), i, code_of_zero);
  return {std::move(codes), std::move(scale), rows, cols, block_size, std::move(codebook)};
}

}  // namespace detail

/// Quantizes `rows * cols` row-major floats. Throws NumericError at the first value that is not
/// finite (unless told to saturate) and FormatError for a block size that the format does not have.
template <class F>
QuantizedMatrix<F> quantize(const float* weights, Index rows, Index cols,
                            const QuantizeOptions& options = {}) {
  static_assert(Format<F>, "quantize: the template argument must be a BlockFormat");
  if (options.non_finite == on_non_finite::saturate)
    return quantize<F>(detail::saturated(weights, rows * cols).data(), rows, cols,
                       {.block_size = options.block_size});
  if constexpr (requires { typename F::wraps_a_format; }) {
    auto [rest, outliers] = detail::split_outliers(weights, rows, cols, F::share);
    return {quantize<typename F::wraps_a_format>(rest.data(), rows, cols, options),
            std::move(outliers)};
  } else {
    return detail::quantize_blocks<F>(weights, rows, cols, options);
  }
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
