/// A packed matrix by reference: pointers and sizes, trivially copyable, the same type on host and
/// device.
///
///     qlora::QuantizedView view = w.view();
///     float sum = 0;
///     for (qlora::Index col = 0; col < view.cols(); ++col) sum += view(row, col);
///
/// Weights are blocked and packed in row-major order over the whole matrix, so a block may span
/// rows. A view may be read by several threads at once. This header has the class alone;
/// quantized_view.hpp brings every format with it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/quant/block_format.hpp"
#include "qlora/quant/decode.hpp"
#include "qlora/quant/packing.hpp"
#include "qlora/quant/scale.hpp"

namespace qlora::inline QLORA_ABI {

/// A packed matrix [rows, cols] of a format, by reference: pointers and sizes. Any number of threads
/// may read one, on host and device.
template <class F>
class QuantizedView {
  static_assert(Format<F>, "QuantizedView: the argument must be a BlockFormat");

 public:
  using FormatType = F;
  using Code = typename F::CodebookType;
  using ScaleView = typename F::ScaleType::View;
  using CodebookView = typename codebook_traits<Code>::View;

  QuantizedView() = default;

  /// codes: packed, row-major; scale: one per block; block_size counts only for formats of any_size,
  /// codebook only for run-time ones.
  QLORA_HD QuantizedView(const std::uint8_t* codes, ScaleView scale, Index rows, Index cols,
                         Index block_size, CodebookView codebook = {})
      : codes_(codes),
        scale_(scale),
        codebook_(codebook),
        rows_(rows),
        cols_(cols),
        block_size_(block_size) {}

  /// The same matrix elsewhere: move(pointer, n) is the new place of n numbers.
  template <class Move>
  QuantizedView relocated(Move&& move) const {
    return {move(codes_, packed_bytes(F::code_bits, size())),
            scale_.relocated(block_count(), move),
            rows_,
            cols_,
            block_size_,
            codebook_.relocated(rows_, move)};
  }

  /// The rows, which are the outputs of a linear layer.
  QLORA_HD Index rows() const { return rows_; }
  /// The columns, which are its inputs.
  QLORA_HD Index cols() const { return cols_; }
  /// rows() * cols().
  QLORA_HD Index size() const { return rows_ * cols_; }
  /// The number of weights that share a scale.
  QLORA_HD Index block_size() const {
    if constexpr (F::block_size == any_size) {
      return block_size_;
    } else {
      return F::block_size;
    }
  }
  /// The number of blocks; the last one may be short.
  QLORA_HD Index block_count() const { return (size() + block_size() - 1) / block_size(); }
  /// The packed codes in row-major order.
  QLORA_HD const std::uint8_t* codes() const { return codes_; }
  /// Gives the scale of a block.
  QLORA_HD const ScaleView& scale() const { return scale_; }
  /// Gives the value of a code in a row.
  QLORA_HD const CodebookView& codebook() const { return codebook_; }

  /// One weight: its code's value scaled as its block's scale says, each step rounded to float.
  QLORA_HD float operator()(Index row, Index col) const {
    const Index i = row * cols_ + col;
    return scaled(codebook_(read_code<F::code_bits>(codes_, i), row), scale_(i / block_size()));
  }

  /// Columns [block * block_size, ...) of a row, at most block_size of them, into `out`; returns
  /// how many.
  template <class T>
  QLORA_HD Index decode_block(Index row, Index block, T* out) const {
    const Index begin = block * block_size();
    const Index count = begin + block_size() < cols_ ? block_size() : cols_ - begin;
    decode_range(row * cols_ + begin, count, out);
    return count;
  }

  /// `count` weights from position `begin` of the row-major order into `out`.
  template <class T>
  QLORA_HD void decode_range(Index begin, Index count, T* out) const {
#if QLORA_HAS_VECTORS && !defined(__CUDA_ARCH__)
    if constexpr (std::is_same_v<T, float>) return decode_vectors(begin, count, out);
#elif QLORA_HAS_RUNTIME_AVX2 && !defined(__CUDA_ARCH__)
    if constexpr (std::is_same_v<T, float> && F::code_bits == 4)
      if (quant_detail::processor_has_avx2()) return decode_by_avx2(begin, begin + count, out);
#endif
    const Index end = begin + count;
    while (begin < end) {
      const Index block = begin / block_size();
      const Index block_end = (block + 1) * block_size();
      Index stop = block_end < end ? block_end : end, row = 0;
      if constexpr (codebook_traits<Code>::by_row) {
        row = begin / cols_;
        stop = (row + 1) * cols_ < stop ? (row + 1) * cols_ : stop;
      }
      decode_within_block(begin, stop, row, scale_(block), out);
      out += stop - begin;
      begin = stop;
    }
  }

#if QLORA_HAS_VECTORS
  /// The values of 4-bit codes where one table serves all and a block's scale is one number, for
  /// products that need no decoded weights.
  simd::LookupTable lookup_table() const
      requires(F::code_bits == 4 && !codebook_traits<Code>::by_row &&
               std::is_same_v<decltype(std::declval<const ScaleView&>()(Index{0})), float>) {
    if constexpr (RuntimeCodebook<Code>) {
      float values[16];
      for (int i = 0; i < 16; ++i) values[i] = codebook_(static_cast<std::uint8_t>(i), 0);
      return simd::LookupTable(values, 16);
    } else {
      return simd::lookup_table<Code>;
    }
  }
#endif
 private:
#if QLORA_HAS_VECTORS
  /// decode_range by vectors, to the same bits.
  void decode_vectors(Index begin, Index count, float* out) const {
    const Index bytes = packed_bytes(F::code_bits, size());
    if constexpr (!RuntimeCodebook<Code>) {
      decode_with(simd::VectorDecoder<F::code_bits>(decode_table<Code>.at, simd::lookup_table<Code>,
                                                    &simd::even_steps<Code>),
                  bytes, begin, count, out);
    } else {
      // Each table's values, made ready for as long as they serve.
      const Index row_size = codebook_traits<Code>::by_row ? cols_ : size();
      for (Index end = begin + count; begin < end;) {
        const Index row = begin / row_size, stop = std::min(end, (row + 1) * row_size);
        float values[1 << F::code_bits];
        for (int i = 0; i < (1 << F::code_bits); ++i)
          values[i] = codebook_(static_cast<std::uint8_t>(i), row);
        const simd::LookupTable lookup(values, 1 << F::code_bits);
        decode_with(simd::VectorDecoder<F::code_bits>(values, lookup), bytes, begin, stop - begin,
                    out);
        out += stop - begin;
        begin = stop;
      }
    }
  }

  void decode_with(const simd::VectorDecoder<F::code_bits>& decoder, Index bytes, Index begin,
                   Index count, float* out) const {
    // Blocks that are shorter than a step of the decoder are looked up together and scaled after.
    const bool together = block_size() < simd::decode_step;
    if (together) decoder.values(codes_, bytes, begin, count, out);
    const Index end = begin + count;
    while (begin < end) {
      const Index block = begin / block_size();
      const Index stop = std::min(end, (block + 1) * block_size());
      if (together) {
        simd::scale_in_place(out, stop - begin, scale_(block));
      } else {
        decoder(codes_, bytes, begin, stop - begin, scale_(block), out);
      }
      out += stop - begin;
      begin = stop;
    }
  }
#endif

#if QLORA_HAS_RUNTIME_AVX2
  /// decode_range for 4-bit codes to floats, to the same bits.
  __attribute__((target("avx2"))) void decode_by_avx2(Index begin, Index end, float* out) const {
    float table[16] = {};
    for (Index known_row = -1; begin < end;) {
      const Index block = begin / block_size();
      Index stop = std::min(end, (block + 1) * block_size()), row = 0;
      if constexpr (codebook_traits<Code>::by_row) {
        row = begin / cols_;
        stop = std::min(stop, (row + 1) * cols_);
      }
      if (row != known_row)
        for (int i = 0; i < 16; ++i) table[i] = codebook_(static_cast<std::uint8_t>(i), row);
      known_row = row;
      const auto scale = scale_(block);
      if (begin % 2 != 0) *out++ = scaled(table[read_code<4>(codes_, begin++)], scale);
      const Index groups = (stop - begin) / 8;
      const std::uint8_t* bytes = codes_ + begin / 2;
      if constexpr (std::is_arithmetic_v<std::remove_const_t<decltype(scale)>>) {
        quant_detail::look_up_by_avx2(table, static_cast<float>(scale), bytes, groups, out);
      } else {
        float products[16];
        for (int i = 0; i < 16; ++i) products[i] = scaled(table[i], scale);
        quant_detail::look_up_by_avx2(products, 1.f, bytes, groups, out);
      }
      begin += 8 * groups;
      out += 8 * groups;
      for (; begin < stop; ++begin) *out++ = scaled(table[read_code<4>(codes_, begin)], scale);
    }
  }
#endif

  /// Up to 4 bits, the scaled table is made once and then only looked up: every weight gets the
  /// same single rounding. `row` counts only where every row has its own values.
  template <class T, class S>
  QLORA_HD void decode_within_block(Index begin, Index end, Index row, S scale, T* out) const {
    if constexpr (F::code_bits <= 4) {
      T table[1 << F::code_bits];
      for (int i = 0; i < (1 << F::code_bits); ++i)
        table[i] = static_cast<T>(scaled(codebook_(static_cast<std::uint8_t>(i), row), scale));
      if constexpr (F::code_bits == 4) {
        if (begin < end && begin % 2 != 0) *out++ = table[codes_[begin++ / 2] & 15u];
        const std::uint8_t* byte = codes_ + begin / 2;
        const Index pairs = (end - begin) / 2;
        for (Index i = 0; i < pairs; ++i) {
          out[2 * i] = table[byte[i] >> 4];
          out[2 * i + 1] = table[byte[i] & 15u];
        }
        if ((end - begin) % 2 != 0) out[2 * pairs] = table[byte[pairs] >> 4];
      } else {
        for (Index i = begin; i < end; ++i) *out++ = table[read_code<F::code_bits>(codes_, i)];
      }
    } else {
      for (Index i = begin; i < end; ++i)
        *out++ = static_cast<T>(scaled(codebook_(read_code<F::code_bits>(codes_, i), row), scale));
    }
  }

  const std::uint8_t* codes_ = nullptr;
  ScaleView scale_{};
  [[no_unique_address]] CodebookView codebook_{};
  Index rows_ = 0, cols_ = 0, block_size_ = 1;
};

/// The transpose of a packed matrix as an operand of a product; nothing moves.
template <class F>
struct TransposedView {
  QuantizedView<F> view;
};

}  // namespace qlora::inline QLORA_ABI
