/// The tensor types of GGUF files: their block layout and their decoding to floats, as ggml stores
/// them.
///
/// A block of 32 4-bit codes holds elements 0..15 in its low nibbles and 16..31 in the high ones.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "qlora/core/error.hpp"
#include "qlora/core/numeric.hpp"

namespace qlora {

struct GgufType {
  std::uint32_t id;
  const char* name;
  Index block;  ///< weights a block
  Index bytes;  ///< bytes a block
  void (*decode)(const std::byte* block, float* out);
};

namespace detail {

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

inline float load_half(const std::byte* from) {
  return float16::from_bits(load<std::uint16_t>(from));
}

/// code * scale + offset over 32 codes of 4 bits, with an optional fifth bit a code.
inline void decode_nibbles(const std::byte* codes, const std::byte* fifth_bits, float scale,
                           float bias, float offset, float* out) {
  const std::uint32_t fifth = fifth_bits ? load<std::uint32_t>(fifth_bits) : 0;
  for (int i = 0; i < 32; ++i) {
    const unsigned byte = std::to_integer<unsigned>(codes[i % 16]);
    const unsigned code = (i < 16 ? byte & 15u : byte >> 4) | (((fifth >> i) & 1u) << 4);
    out[i] = rounded_sum(rounded_product(static_cast<float>(code) - bias, scale), offset);
  }
}

inline constexpr std::array<GgufType, 8> gguf_types{{
    {0, "F32", 1, 4, [](const std::byte* b, float* out) { *out = load<float>(b); }},
    {1, "F16", 1, 2, [](const std::byte* b, float* out) { *out = load_half(b); }},
    {30, "BF16", 1, 2,
     [](const std::byte* b, float* out) { *out = bfloat16::from_bits(load<std::uint16_t>(b)); }},
    {2, "Q4_0", 32, 18,
     [](const std::byte* b, float* out) {
       decode_nibbles(b + 2, nullptr, load_half(b), 8, 0, out);
     }},
    {3, "Q4_1", 32, 20,
     [](const std::byte* b, float* out) {
       decode_nibbles(b + 4, nullptr, load_half(b), 0, load_half(b + 2), out);
     }},
    {6, "Q5_0", 32, 22,
     [](const std::byte* b, float* out) {
       decode_nibbles(b + 6, b + 2, load_half(b), 16, 0, out);
     }},
    {7, "Q5_1", 32, 24,
     [](const std::byte* b, float* out) {
       decode_nibbles(b + 8, b + 4, load_half(b), 0, load_half(b + 2), out);
     }},
    {8, "Q8_0", 32, 34,
     [](const std::byte* b, float* out) {
       const float scale = load_half(b);
       for (int i = 0; i < 32; ++i)
         out[i] = rounded_product(static_cast<float>(load<std::int8_t>(b + 2 + i)), scale);
     }},
}};

}  // namespace detail

/// Null for a type that is not supported.
inline const GgufType* find_gguf_type(std::uint32_t id) {
  for (const GgufType& type : detail::gguf_types)
    if (type.id == id) return &type;
  return nullptr;
}

inline std::string gguf_type_names() {
  std::string names;
  for (const GgufType& type : detail::gguf_types)
    names += (names.empty() ? "" : ", ") + std::string(type.name);
  return names;
}

/// Decodes out.size() weights. Throws FormatError for an unknown type or bytes that do not match
/// the size.
inline void gguf_decode(std::uint32_t id, std::span<const std::byte> bytes, std::span<float> out) {
  const GgufType* type = find_gguf_type(id);
  require<FormatError>(type != nullptr, "GGUF type ", id, " is not supported; expected one of ",
                       gguf_type_names());
  const Index blocks = static_cast<Index>(out.size()) / type->block;
  require<FormatError>(blocks * type->block == static_cast<Index>(out.size()) &&
                           blocks * type->bytes == static_cast<Index>(bytes.size()),
                       type->name, ": ", bytes.size(), " bytes do not hold ", out.size(),
                       " weights");
  for (Index i = 0; i < blocks; ++i)
    type->decode(bytes.data() + i * type->bytes, out.data() + i * type->block);
}

}  // namespace qlora
