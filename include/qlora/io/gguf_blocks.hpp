/// GGUF's block types that are formats of this library, from packed bytes to packed bytes: no
/// weight changes its value.
///
///     auto w = qlora::from_gguf_blocks<qlora::Q4_0>(packed, rows, cols);
///     std::vector<std::byte> bytes = qlora::to_gguf_blocks(w);
///
/// GGUF puts codes 0..15 of a block into the low nibbles and 16..31 into the high ones; matrices
/// hold them in pairs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/error.hpp"
#include "qlora/io/gguf_types.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantized_matrix.hpp"

namespace qlora {

namespace detail {
template <std::uint32_t Id>
struct GgufId {
  static constexpr std::uint32_t id = Id;
};
}  // namespace detail

/// Maps a format to its type in GGUF. Only specializations exist.
template <class F>
struct GgufTypeOf;
template <>
struct GgufTypeOf<Q4_0> : detail::GgufId<2> {};
template <>
struct GgufTypeOf<Q4_1> : detail::GgufId<3> {};
template <>
struct GgufTypeOf<Q8_0> : detail::GgufId<8> {};
template <>
struct GgufTypeOf<Iq4Nl> : detail::GgufId<20> {};
template <>
struct GgufTypeOf<MxFp4> : detail::GgufId<39> {};

/// A format that GGUF has a block type for.
template <class F>
concept GgufFormat = requires {
  GgufTypeOf<F>::id;
};

/// Calls `visit.operator()<Format>()` with the Format of a GGUF type. Returns false if this library
/// has no Format for the type.
template <class Visit>
bool visit_gguf_format(std::uint32_t id, Visit&& visit) {
  const auto offer = [&]<class F>() {
    if (GgufTypeOf<F>::id != id) return false;
    visit.template operator()<F>();
    return true;
  };
  return offer.template operator()<Q4_0>() || offer.template operator()<Q4_1>() ||
         offer.template operator()<Q8_0>() || offer.template operator()<Iq4Nl>() ||
         offer.template operator()<MxFp4>();
}

namespace detail {

// The head of a block: what the scale stores. Each reads or writes its bytes and says how many.
inline std::size_t read_head(const std::byte* from, FloatScale<float16>::Storage& scale) {
  scale.values.push_back(float16::from_bits(load<std::uint16_t>(from)));
  return 2;
}
inline std::size_t read_head(const std::byte* from, AffineScale<float16>::Storage& scale) {
  scale.steps.push_back({float16::from_bits(load<std::uint16_t>(from)),
                         float16::from_bits(load<std::uint16_t>(from + 2))});
  return 4;
}
inline std::size_t read_head(const std::byte* from, PowerOfTwoScale<>::Storage& scale) {
  scale.exponents.push_back(std::to_integer<std::uint8_t>(*from));
  return 1;
}
inline std::size_t write_head(std::byte* to, const FloatScale<float16>::Storage& scale,
                              std::size_t block) {
  std::memcpy(to, &scale.values[block], 2);
  return 2;
}
inline std::size_t write_head(std::byte* to, const AffineScale<float16>::Storage& scale,
                              std::size_t block) {
  std::memcpy(to, &scale.steps[block].scale, 2);
  std::memcpy(to + 2, &scale.steps[block].minimum, 2);
  return 4;
}
inline std::size_t write_head(std::byte* to, const PowerOfTwoScale<>::Storage& scale,
                              std::size_t block) {
  *to = std::byte{scale.exponents[block]};
  return 1;
}

/// 32 codes of a block and their places in a matrix's packed codes, to or from.
template <class F>
void read_codes(const std::byte* from, std::uint8_t* codes) {
  for (int i = 0; i < 16; ++i)
    if constexpr (F::code_bits == 4) {
      const int shift = i < 8 ? 0 : 4, at = 2 * i % 16;
      const auto first = bits_of(from[at], shift, 4), second = bits_of(from[at + 1], shift, 4);
      codes[i] = static_cast<std::uint8_t>(first << 4 | second);
    } else {  // a signed byte, where codes count from -128
      codes[2 * i] = std::to_integer<std::uint8_t>(from[2 * i] ^ std::byte{128});
      codes[2 * i + 1] = std::to_integer<std::uint8_t>(from[2 * i + 1] ^ std::byte{128});
    }
}
template <class F>
void write_codes(const std::uint8_t* codes, std::byte* to) {
  for (int i = 0; i < 16; ++i)
    if constexpr (F::code_bits == 4) {
      const auto code = [&](int k) { return read_code<4>(codes, k); };
      to[i] = std::byte{static_cast<std::uint8_t>(code(i) | code(i + 16) << 4)};
    } else {
      to[2 * i] = std::byte{codes[2 * i]} ^ std::byte{128};
      to[2 * i + 1] = std::byte{codes[2 * i + 1]} ^ std::byte{128};
    }
}

/// Bytes of a block.
template <GgufFormat F>
constexpr std::size_t gguf_block_bytes() {
  for (const GgufType& type : gguf_types)
    if (type.id == GgufTypeOf<F>::id) return static_cast<std::size_t>(type.bytes);
  return 0;
}

struct SameRow {
  constexpr Index operator()(Index row) const { return row; }
};

}  // namespace detail

/// The matrix [rows, cols] that the blocks hold. Its row r is the blocks' row `source(r)`: rows
/// move whole. Throws FormatError for another number of bytes and NumericError for a scale that is
/// not finite.
template <GgufFormat F, class Source = detail::SameRow>
QuantizedMatrix<F> from_gguf_blocks(std::span<const std::byte> bytes, Index rows, Index cols,
                                    Source source = {}) {
  constexpr std::size_t block_bytes = detail::gguf_block_bytes<F>();
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
      const std::size_t head = detail::read_head(from, scale);
      detail::read_codes<F>(from + head, to);
      const float one = scaled(1.f, scale.view()(row * blocks + block));
      require<NumericError>(is_finite(one), "row ", source(row), ", block ", block,
                            ": expected a finite scale, found ", one);
    }
  }
  return {std::move(codes), std::move(scale), rows, cols, F::block_size};
}

/// The blocks of a matrix whose rows are whole blocks; the blocks' row r is the matrix's row
/// `source(r)`. Throws ShapeError for other rows.
template <GgufFormat F, class Source = detail::SameRow>
std::vector<std::byte> to_gguf_blocks(const QuantizedMatrix<F>& w, Source source = {}) {
  constexpr std::size_t block_bytes = detail::gguf_block_bytes<F>();
  constexpr std::size_t code_bytes = F::block_size * F::code_bits / 8;
  require<ShapeError>(w.cols() % F::block_size == 0, "GGUF: expected rows of a multiple of ",
                      F::block_size, " weights, found ", w.cols());
  const Index blocks = w.cols() / F::block_size;
  std::vector<std::byte> bytes(static_cast<std::size_t>(w.rows() * blocks) * block_bytes);
  std::byte* to = bytes.data();
  for (Index row = 0; row < w.rows(); ++row)
    for (Index block = 0; block < blocks; ++block, to += block_bytes) {
      const auto from = static_cast<std::size_t>(source(row) * blocks + block);
      const std::size_t head = detail::write_head(to, w.scale(), from);
      detail::write_codes<F>(w.codes().data() + from * code_bytes, to + head);
    }
  return bytes;
}

}  // namespace qlora
