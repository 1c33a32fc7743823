/// GGUF's block types that are formats of this library, from packed bytes to packed bytes: no
/// weight changes its value.
///
///     auto w = qlora::from_gguf_blocks<qlora::formats::q4_0>(packed, rows, cols);
///     std::vector<std::byte> bytes = qlora::to_gguf_blocks(w);
///
/// Both decode by the same Format; only the places of a block's codes differ (io/gguf_format.hpp).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/io/gguf_format.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantized_matrix.hpp"

namespace qlora::inline QLORA_ABI {

namespace io_detail {

/// The codes of a block of GGUF and their places in a matrix's packed codes, to or from; the bits
/// that they are put into are still zero.
template <class F>
void read_codes(const std::byte* block, std::uint8_t* codes) {
  using Type = GgufTypeOf<F>;
  if constexpr (F::code_bits == 4) {
    for (int i = 0; i < Type::weights / 2; ++i)
      codes[i] =
          static_cast<std::uint8_t>(Type::code(block, 2 * i) << 4 | Type::code(block, 2 * i + 1));
  } else {
    for (int i = 0; i < Type::weights; ++i)
      write_code<F::code_bits>(codes, i, Type::code(block, i));
  }
}
template <class F>
void write_codes(const std::uint8_t* codes, std::byte* block) {
  for (int i = 0; i < GgufTypeOf<F>::weights; ++i)
    GgufTypeOf<F>::put_code(block, i, read_code<F::code_bits>(codes, i));
}

struct SameRow {
  constexpr Index operator()(Index row) const { return row; }
};

}  // namespace io_detail

/// The matrix [rows, cols] that the blocks hold. Its row r is the blocks' row `source(r)`: rows
/// move whole. Throws FormatError for another number of bytes and NumericError for a scale that is
/// not finite.
template <GgufFormat F, class Source = io_detail::SameRow>
QuantizedMatrix<F> from_gguf_blocks(std::span<const std::byte> bytes, Index rows, Index cols,
                                    Source source = {}) {
  using Type = GgufTypeOf<F>;
  constexpr std::size_t code_bytes = Type::weights * F::code_bits / 8;
  constexpr int parts = Type::weights / F::block_size;
  const Index blocks = cols / Type::weights;
  require<FormatError>(cols % Type::weights == 0 &&
                           static_cast<Index>(bytes.size() / Type::bytes) == rows * blocks &&
                           bytes.size() % Type::bytes == 0,
                       "blocks of ", Type::weights, " weights: ", bytes.size(),
                       " bytes do not hold shape [", rows, ", ", cols, "]");
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * blocks) * code_bytes);
  typename F::ScaleType::Storage scale;
  Type::make_room(scale, rows * blocks * parts);
  const auto view = scale.view();
  std::uint8_t* to = codes.data();
  Index first = 0;
  for (Index row = 0; row < rows; ++row) {
    const std::byte* from =
        bytes.data() + static_cast<std::size_t>(source(row) * blocks) * Type::bytes;
    for (Index block = 0; block < blocks; ++block) {
      Type::load_scales(from, scale, first);
      io_detail::read_codes<F>(from, to);
      for (int part = 0; part < parts; ++part, ++first) {
        const float one = scaled(1.f, view(first));
        require<NumericError>(is_finite(one), "row ", source(row), ", block ", block,
                              ": expected a finite scale, found ", one);
      }
      from += Type::bytes;
      to += code_bytes;
    }
  }
  return {std::move(codes), std::move(scale), rows, cols, F::block_size};
}

/// The blocks of a matrix whose rows are whole blocks; the blocks' row r is the matrix's row
/// `source(r)`. Throws ShapeError for other rows.
template <GgufFormat F, class Source = io_detail::SameRow>
std::vector<std::byte> to_gguf_blocks(const QuantizedMatrix<F>& w, Source source = {}) {
  using Type = GgufTypeOf<F>;
  constexpr std::size_t code_bytes = Type::weights * F::code_bits / 8;
  constexpr int parts = Type::weights / F::block_size;
  require<ShapeError>(w.cols() % Type::weights == 0, "GGUF: expected rows of a multiple of ",
                      Type::weights, " weights, found ", w.cols());
  const Index blocks = w.cols() / Type::weights;
  std::vector<std::byte> bytes(static_cast<std::size_t>(w.rows() * blocks) * Type::bytes);
  std::byte* to = bytes.data();
  for (Index row = 0; row < w.rows(); ++row)
    for (Index block = 0; block < blocks; ++block, to += Type::bytes) {
      const Index from = source(row) * blocks + block;
      Type::save_scales(w.scale(), from * parts, to);
      io_detail::write_codes<F>(w.codes().data() + static_cast<std::size_t>(from) * code_bytes, to);
    }
  return bytes;
}

}  // namespace qlora::inline QLORA_ABI
