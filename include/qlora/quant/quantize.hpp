/// Dense weights to codes and scales: the largest magnitude of each block, then the nearest code of
/// the scaled value.
///
///     qlora::QuantizedMatrix w = qlora::quantize<formats::nf4_dq>(dense);   // dense: any Eigen expression
///     using Mine = qlora::BlockFormat<qlora::RuntimeTable<4>, 64, qlora::FloatScale<float>>;
///     std::vector<float> table = ...;   // known at run time
///     qlora::QuantizedMatrix mine = qlora::quantize<Mine>(dense, table);
///
/// The rounding steps are bitsandbytes', so codes are equal bit for bit (quant/block_encoder.hpp).
///
/// Finite weights decode to finite weights, or NumericError is thrown. Scales that are too small
/// for their storage are not refused: a block whose scale becomes 0 decodes to zeros, so that its
/// error is at most its largest weight, and near that size (below 2^-14 in float16) scales have few
/// digits and the error is at most twice the largest weight.
///
/// May be called by several threads at once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "qlora/codebook/runtime_table.hpp"
#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/quant/block_encoder.hpp"
#include "qlora/quant/encode.hpp"
#include "qlora/quant/learn_codebook.hpp"
#include "qlora/quant/quantized_matrix.hpp"
#include "qlora/quant/require_finite.hpp"
#include "qlora/quant/split_outliers.hpp"

namespace qlora::inline QLORA_ABI {

/// What `quantize` does with NaN, infinity and weights that are too large for the format.
///
/// The largest weight that a format surely holds is the largest float for NF4 and its like with
/// float32 scales, 65504 times the value that a block's largest weight maps to with float16 scales,
/// and with every Scale of this library at least a thirty-second of what it can hold at best.
enum class OnNonFinite {
  reject,   ///< throws NumericError that names row and column, or the block of a scale too large
  saturate  ///< NaN becomes 0, larger weights the largest that the format surely holds
};

/// How `quantize` goes about its work.
struct QuantizeOptions {
  /// What becomes of weights that the format can't hold.
  OnNonFinite non_finite = OnNonFinite::reject;
  /// Weights in a block; needed for formats of any_size, otherwise the format's own.
  Index block_size = 0;
};

namespace quant_detail {

/// Whether a codebook's values are tables of ascending numbers.
template <class Code>
inline constexpr bool is_table = LearnedCodebook<Code>;
template <int Bits>
inline constexpr bool is_table<RuntimeTable<Bits>> = true;

/// Throws unless the values that a user gave serve a matrix of so many rows.
template <RuntimeCodebook Code>
void require_table(const typename Code::Storage& codebook, Index rows) {
  require<ShapeError>(codebook.fits(rows),
                      "quantize: the table of values does not fit a matrix of ", rows, " rows");
  if constexpr (is_table<Code>) {
    const auto& values = codebook.values;
    for (auto at = values.begin(); at != values.end(); at += Code::count)
      require<FormatError>(std::is_sorted(at, at + Code::count),
                           "quantize: the values of the codes must ascend");
  }
}

/// Codes of numbers in units of their block's scale, by a codebook known at compile time.
template <class Code>
struct Encoder {
  using Storage = typename codebook_traits<Code>::Storage;
  Encoder(const Storage&, Index) {}

  /// Codes of the weights [begin, begin + count), whose scaled values are changed.
  void operator()(float* value, Index, Index count, std::uint8_t* code) const {
    if constexpr (has_codes_beyond<Code>)
      for (Index i = 0; i < count; ++i) value[i] = clamped<Code>(value[i]);
    simd::encode_values<Code>(value, count, code);
  }
  std::uint8_t of_zero(Index) const { return encode<Code>(0.f); }
};

/// The same by values known at run time.
template <RuntimeCodebook Code>
struct Encoder<Code> {
  using Storage = typename Code::Storage;

  Encoder(const Storage& codebook, Index cols) : view_(codebook.view()), cols_(cols) {
    if constexpr (in_tables) {
      const std::span<const float> values(codebook.values);
      for (std::size_t at = 0; at < values.size(); at += Code::count) {
        tables_.emplace_back(values.subspan(at, Code::count));
      }
    }
  }

  void operator()(const float* value, Index begin, Index count, std::uint8_t* code) const {
    for (Index i = 0; i < count; ++i)
      code[i] = one(value[i], Code::by_row ? (begin + i) / cols_ : 0);
  }
  std::uint8_t of_zero(Index row) const { return one(0.f, Code::by_row ? row : 0); }

 private:
  /// Whether the values are tables whose mid-points are worth keeping.
  static constexpr bool in_tables = is_table<Code>;

  std::uint8_t one(float x, Index row) const {
    if constexpr (in_tables) {
      return tables_[static_cast<std::size_t>(row)](x);
    } else {
      return view_.encode(x, row);
    }
  }

  typename Code::View view_;
  Index cols_;
  std::vector<TableEncoder> tables_;
};

/// Weights [begin, begin + count) scaled by `to_code_value`, coded and packed.
template <class F, class ToCodeValue>
void encode_block(const float* x, Index begin, Index count,
                  const Encoder<typename F::CodebookType>& encoder, std::uint8_t* codes,
                  ToCodeValue to_code_value) {
  constexpr Index chunk = 256;
  float value[chunk];
  std::uint8_t code[chunk];
  for (Index from = 0; from < count; from += chunk) {
    const Index n = std::min(chunk, count - from);
    for (Index i = 0; i < n; ++i) value[i] = to_code_value(x[from + i]);
    encoder(value, begin + from, n, code);
    simd::pack_codes<F::code_bits>(code, begin + from, n, codes);
  }
}

/// Codes by the scale as computed: reference over `value`, the code value that it maps to. Returns
/// the reference to store.
template <class F, class Reference>
Reference encode_by_reference(const float* x, Index begin, Index count, bool full,
                              Reference reference, float value,
                              const Encoder<typename F::CodebookType>& encoder,
                              std::uint8_t* codes) {
  const auto divisor = BlockDivisor<Reference>::of(reference, value, full);
  // `full` as a constant leaves no branch in the loop over the weights.
  if (full) {
    encode_block<F>(x, begin, count, encoder, codes,
                    [=](float w) { return divisor.in_units(w, true); });
  } else {
    encode_block<F>(x, begin, count, encoder, codes,
                    [=](float w) { return divisor.in_units(w, false); });
  }
  return divisor.stored;
}

/// Whether the codes of a format depend on its scales as stored.
template <class F>
inline constexpr bool codes_follow_stored = [] {
  if constexpr (requires { F::ScaleType::codes_follow_stored; })
    return F::ScaleType::codes_follow_stored || LearnedCodebook<typename F::CodebookType>;
  return LearnedCodebook<typename F::CodebookType>;
}();

/// The code value that a block's reference maps to.
template <class F>
float reference_value_of(const typename QuantizedMatrix<F>::CodebookStorage& codebook) {
  if constexpr (requires { codebook.extreme(); }) {
    const float extreme = codebook.extreme();
    require<FormatError>(is_finite(extreme) && extreme != 0,
                         "quantize: expected a codebook with an extreme that is finite and not 0, "
                         "found ",
                         extreme);
    constexpr bool is_signed = std::is_same_v<typename F::NormalizationType, SignedAbsoluteMaximum>;
    return is_signed ? extreme : magnitude(extreme);
  } else {
    return F::reference_value;
  }
}

/// The magnitude of weights at which `quantize` saturates.
template <class F>
float saturation(float reference_value) {
  float largest = largest_float;
  if constexpr (RuntimeCodebook<typename F::CodebookType>) {
    largest = largest_weight<F>(reference_value, reference_value);
  } else {
    largest = largest_weight<F>(F::reference_value, extreme_value<typename F::CodebookType>);
  }
  return largest > 0 ? largest : largest_float;
}

/// Weights up to this magnitude surely decode to finite ones.
template <class F>
inline constexpr float surely_held = [] {
  if constexpr (RuntimeCodebook<typename F::CodebookType>) {
    return 0.f;
  } else {
    return largest_weight<F>(F::reference_value, extreme_value<typename F::CodebookType>);
  }
}();

/// NaN as 0, and magnitudes of at most `largest`.
inline std::vector<float> saturated(const float* weights, Index count, float largest) {
  std::vector<float> cleaned(weights, weights + count);
  for (float& value : cleaned)
    if (!(magnitude(value) <= largest)) value = value > 0 ? largest : value < 0 ? -largest : 0.f;
  return cleaned;
}

inline float largest_reference(float reference) { return magnitude(reference); }
inline float largest_reference(Range range) {
  return std::max(magnitude(range.minimum), magnitude(range.maximum));
}
inline float largest_reference(ScaleAndOffset step) {
  return std::max(magnitude(step.scale), magnitude(step.offset));
}

/// Throws NumericError at the first weight that does not decode to a finite number.
template <class F>
void require_finite_decoded(const QuantizedView<F>& w, const float* weights) {
  constexpr Index chunk = 256;
  float decoded[chunk];
  for (Index begin = 0; begin < w.size(); begin += chunk) {
    const Index n = std::min(chunk, w.size() - begin);
    w.decode_range(begin, n, decoded);
    if (all_finite(decoded, n)) continue;
    const Index i = begin + (std::find_if_not(decoded, decoded + n, is_finite) - decoded);
    throw NumericError(message("quantize: row ", i / w.cols(), ", column ", i % w.cols(),
                               " (block ", i / w.block_size(),
                               "): expected a weight that the format can hold, "
                               "found ",
                               weights[i], ", which would come back as ", decoded[i - begin]));
  }
}

/// Quantizes block by block. `codebook` counts for values known at run time; learned ones are found
/// here unless they are given.
template <class F>
QuantizedMatrix<F> quantize_blocks(const float* weights, Index rows, Index cols,
                                   const QuantizeOptions& options,
                                   typename QuantizedMatrix<F>::CodebookStorage codebook,
                                   bool given) {
  using Code = typename F::CodebookType;
  const Index block_size = options.block_size > 0 ? options.block_size : Index{F::block_size};
  require<OptionError>(
      block_size > 0,
      "quantize: this format takes any block size; set QuantizeOptions::block_size");
  require<OptionError>(F::block_size == any_size || block_size == F::block_size,
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
  const auto for_each_reference = [&](auto&& body) {
    for_each_block([&](Index block, Index begin, Index n) {
      require_finite(weights, begin, n, cols);
      body(references[static_cast<std::size_t>(block)] =
               F::NormalizationType::reference(weights + begin, n),
           begin, n);
    });
  };
  typename F::ScaleType::Storage scale;
  std::uint8_t code_of_zero = 0;
  if constexpr (codes_follow_stored<F>) {
    static_assert(
        requires(const typename F::ScaleType::View& stored) { unscaled(1.f, stored(Index{0})); },
        "quantize: codes follow the scale as it is stored, so that a scale of a type of your own "
        "needs unscaled(weight, that type) beside its scaled");
    for_each_reference([](Reference&, Index, Index) {});
    scale = F::ScaleType::store(references, reference_value_of<F>(codebook));
    const auto view = scale.view();
    if constexpr (LearnedCodebook<Code>)
      if (!given) codebook = learn<F>(weights, rows, cols, block_size, view);
    const Encoder<Code> encoder(codebook, cols);
    for_each_block([&](Index block, Index begin, Index n) {
      const auto stored = view(block);
      encode_block<F>(weights + begin, begin, n, encoder, codes.data(),
                      [=](float w) { return unscaled(w, stored); });
    });
    if (count > 0) code_of_zero = encoder.of_zero(rows - 1);
  } else {
    const float value = reference_value_of<F>(codebook);
    const Encoder<Code> encoder(codebook, cols);
    for_each_reference([&](Reference& reference, Index begin, Index n) {
      reference = encode_by_reference<F>(weights + begin, begin, n, n == block_size, reference,
                                         value, encoder, codes.data());
    });
    scale = F::ScaleType::store(references, value);
    if (count > 0) code_of_zero = encoder.of_zero(rows - 1);
  }
  // The rest of the last byte holds the code of 0.
  const Index filled = static_cast<Index>(codes.size()) * 8 / F::code_bits;
  for (Index i = count; i < filled; ++i) write_code<F::code_bits>(codes.data(), i, code_of_zero);
  QuantizedMatrix<F> packed(std::move(codes), std::move(scale), rows, cols, block_size,
                            std::move(codebook));
  float largest = 0;
  for (const Reference& reference : references)
    largest = std::max(largest, largest_reference(reference));
  if (!(largest <= surely_held<F>)) require_finite_decoded(packed.view(), weights);
  return packed;
}

/// The format whose codebook a table is for: of a wrapper, the one inside.
template <class F>
struct inner_format {
  using type = F;
};
template <class F>
requires requires { typename F::InnerFormat; }
struct inner_format<F> {
  using type = typename F::InnerFormat;
};
template <class F>
using TableOf = typename QuantizedMatrix<typename inner_format<F>::type>::CodebookStorage;

template <class F>
QuantizedMatrix<F> quantize_with(const float* weights, Index rows, Index cols,
                                 const QuantizeOptions& options, TableOf<F> table, bool given) {
  const bool saturates = options.non_finite == OnNonFinite::saturate;
  std::vector<float> cleaned;
  const auto saturate = [&](float largest) {
    cleaned = saturated(weights, rows * cols, largest);
    weights = cleaned.data();
  };
  if constexpr (requires { typename F::InnerFormat; }) {
    if (saturates) saturate(bfloat16::largest);
    auto [rest, outliers] = split_outliers(weights, rows, cols, F::share);
    return {quantize_with<typename F::InnerFormat>(rest.data(), rows, cols, options,
                                                   std::move(table), given),
            std::move(outliers)};
  } else {
    if constexpr (RuntimeCodebook<typename F::CodebookType>)
      if (given) require_table<typename F::CodebookType>(table, rows);
    if (saturates) saturate(saturation<F>(reference_value_of<F>(table)));
    return quantize_blocks<F>(weights, rows, cols, options, std::move(table), given);
  }
}

/// Calls `use(pointer, rows, cols)` with the numbers of any expression as row-major floats.
template <class Derived, class Use>
auto with_floats(const Eigen::MatrixBase<Derived>& weights, Use&& use) {
  if constexpr (std::is_same_v<Derived, RowMatrixXf>) {
    return use(weights.derived().data(), weights.rows(), weights.cols());
  } else {
    const RowMatrixXf dense = weights.template cast<float>();
    return use(dense.data(), dense.rows(), dense.cols());
  }
}

/// Whether `quantize` needs to be given the values of the codes.
template <class F>
inline constexpr bool needs_table = [] {
  using Code = typename inner_format<F>::type::CodebookType;
  return RuntimeCodebook<Code> && !LearnedCodebook<Code>;
}();

}  // namespace quant_detail

/// Quantizes `rows * cols` row-major floats. Throws NumericError at the first value that is not
/// finite or that the format can't hold (unless told to saturate), and OptionError for a block size
/// that the format does not have.
template <class F>
QuantizedMatrix<F> quantize(const float* weights, Index rows, Index cols,
                            const QuantizeOptions& options = {}) {
  static_assert(Format<F>, "quantize: the template argument must be a BlockFormat");
  static_assert(!quant_detail::needs_table<F>,
                "quantize: the values of this format's codebook are known at run time only; give "
                "them after the weights, as in quantize<F>(dense, table)");
  return quant_detail::quantize_with<F>(weights, rows, cols, options, {}, false);
}

/// The same with the values of the codes, one table for the matrix, or one for each row where the
/// codebook is by_row. Throws ShapeError when they do not fit, FormatError when they do not ascend
/// where they have to.
template <class F>
QuantizedMatrix<F> quantize(const float* weights, Index rows, Index cols,
                            std::type_identity_t<quant_detail::TableOf<F>> table,
                            const QuantizeOptions& options = {}) requires
    RuntimeCodebook<typename quant_detail::inner_format<F>::type::CodebookType> {
  return quant_detail::quantize_with<F>(weights, rows, cols, options, std::move(table), true);
}

/// Quantizes any Eigen expression; double is rounded to float first, and infinite where it is
/// beyond float.
template <class F, class Derived>
QuantizedMatrix<F> quantize(const Eigen::MatrixBase<Derived>& weights,
                            const QuantizeOptions& options = {}) {
  return quant_detail::with_floats(weights, [&](const float* w, Index rows, Index cols) {
    return quantize<F>(w, rows, cols, options);
  });
}

/// The same with the values of the codes.
template <class F, class Derived>
QuantizedMatrix<F> quantize(const Eigen::MatrixBase<Derived>& weights,
                            std::type_identity_t<quant_detail::TableOf<F>> table,
                            const QuantizeOptions& options = {}) requires
    RuntimeCodebook<typename quant_detail::inner_format<F>::type::CodebookType> {
  return quant_detail::with_floats(weights, [&](const float* w, Index rows, Index cols) {
    return quantize<F>(w, rows, cols, std::move(table), options);
  });
}

}  // namespace qlora::inline QLORA_ABI
