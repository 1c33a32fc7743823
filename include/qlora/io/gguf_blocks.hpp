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

// What a Scale stores of each block, in its Storage.
template <class Storage>
auto& heads_of(Storage& scale) {
  if constexpr (requires { scale.steps; }) {
    return scale.steps;
  } else if constexpr (requires { scale.exponents; }) {
    return scale.exponents;
  } else {
    return scale.values;
  }
}

/// 32 codes of a block and their places in a matrix's packed codes, whose bits are still zero, to or
/// from.
template <class F>
void read_codes(const std::byte* from, std::uint8_t* codes) {
  if constexpr (F::code_bits == 4) {
    for (int i = 0; i < F::block_size / 2; ++i)
      codes[i] =
          static_cast<std::uint8_t>(gguf_code<F>(from, 2 * i) << 4 | gguf_code<F>(from, 2 * i + 1));
  } else {
    for (int i = 0; i < F::block_size; ++i)
      write_code<F::code_bits>(codes, i, gguf_code<F>(from, i));
  }
}
template <class F>
void write_codes(const std::uint8_t* codes, std::byte* to) {
  std::fill_n(to, packed_bytes(F::code_bits, F::block_size), std::byte{0});
  for (int i = 0; i < F::block_size; ++i)
    put_gguf_code<F>(read_code<F::code_bits>(codes, i), to, i);
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
  using Head = typename GgufTypeOf<F>::Head;
  constexpr std::size_t block_bytes = gguf_block_bytes<F>;
  constexpr std::size_t code_bytes = F::block_size * F::code_bits / 8;
  const Index blocks = cols / F::block_size;
  require<FormatError>(cols % F::block_size == 0 &&
                           static_cast<Index>(bytes.size() / block_bytes) == rows * blocks &&
                           bytes.size() % block_bytes == 0,
                       "blocks of ", F::block_size, " weights: ", bytes.size(),
                       " bytes do not hold shape [", rows, ", ", cols, "]");
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * blocks) * code_bytes);
  typename F::ScaleType::Storage scale;
  std::uint8_t* to = codes.data();
  for (Index row = 0; row < rows; ++row) {
    const std::byte* from =
        bytes.data() + static_cast<std::size_t>(source(row) * blocks) * block_bytes;
    for (Index block = 0; block < blocks; ++block, from += block_bytes, to += code_bytes) {
      io_detail::heads_of(scale).push_back(io_detail::load<Head>(from));
      io_detail::read_codes<F>(from + sizeof(Head), to);
      const float one = scaled(1.f, scale.view()(row * blocks + block));
      require<NumericError>(is_finite(one), "row ", source(row), ", block ", block,
                            ": expected a finite scale, found ", one);
    }
  }
  return {std::move(codes), std::move(scale), rows, cols, F::block_size};
}

/// The blocks of a matrix whose rows are whole blocks; the blocks' row r is the matrix's row
/// `source(r)`. Throws ShapeError for other rows.
template <GgufFormat F, class Source = io_detail::SameRow>
std::vector<std::byte> to_gguf_blocks(const QuantizedMatrix<F>& w, Source source = {}) {
  using Head = typename GgufTypeOf<F>::Head;
  constexpr std::size_t block_bytes = gguf_block_bytes<F>;
  constexpr std::size_t code_bytes = F::block_size * F::code_bits / 8;
  require<ShapeError>(w.cols() % F::block_size == 0, "GGUF: expected rows of a multiple of ",
                      F::block_size, " weights, found ", w.cols());
  const Index blocks = w.cols() / F::block_size;
  std::vector<std::byte> bytes(static_cast<std::size_t>(w.rows() * blocks) * block_bytes);
  std::byte* to = bytes.data();
  for (Index row = 0; row < w.rows(); ++row)
    for (Index block = 0; block < blocks; ++block, to += block_bytes) {
      const auto from = static_cast<std::size_t>(source(row) * blocks + block);
      std::memcpy(to, &io_detail::heads_of(w.scale())[from], sizeof(Head));
      io_detail::write_codes<F>(w.codes().data() + from * code_bytes, to + sizeof(Head));
    }
  return bytes;
}

}  // namespace qlora::inline QLORA_ABI
