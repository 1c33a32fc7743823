/// The tensor types of GGUF files: their block layout and their decoding to floats, as ggml stores
/// them.
///
/// A block of 32 4-bit codes holds elements 0..15 in its low nibbles and 16..31 in the high ones.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "qlora/codebook/codebook.hpp"
#include "qlora/codebook/ggml.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/io/gguf_k_types.hpp"

namespace qlora {

/// How GGUF packs one of its types, and the function that decodes one block of it.
struct GgufType {
  std::uint32_t id;
  const char* name;
  Index block;  ///< weights per block
  Index bytes;  ///< bytes per block
  void (*decode)(const std::byte* block, float* out);
};

namespace detail {

/// Code `i` of 32 codes of 4 bits, with an optional fifth bit per code.
inline float nibble(const std::byte* codes, std::uint32_t fifth, int i) {
  const unsigned byte = std::to_integer<unsigned>(codes[i % 16]);
  return static_cast<float>((i < 16 ? byte & 15u : byte >> 4) | (((fifth >> i) & 1u) << 4));
}
inline void decode_centred(const std::byte* codes, std::uint32_t fifth, float scale, float centre,
                           float* out) {
  for (int i = 0; i < 32; ++i) out[i] = rounded_product(nibble(codes, fifth, i) - centre, scale);
}
inline void decode_affine(const std::byte* codes, std::uint32_t fifth, float scale, float minimum,
                          float* out) {
  for (int i = 0; i < 32; ++i)
    out[i] = rounded_sum(rounded_product(nibble(codes, fifth, i), scale), minimum);
}
/// Codes of 4 bits that stand for whole numbers in a table.
inline void decode_table_of(const float* table, const std::byte* codes, float scale, float* out) {
  for (int i = 0; i < 32; ++i)
    out[i] = rounded_product(table[static_cast<int>(nibble(codes, 0, i))], scale);
}

/// E2M1 times two, without a negative zero.
inline constexpr float mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

inline constexpr std::array gguf_types{
    GgufType{0, "F32", 1, 4, [](const std::byte* b, float* out) { *out = load<float>(b); }},
    GgufType{1, "F16", 1, 2, [](const std::byte* b, float* out) { *out = load_half(b); }},
    GgufType{
        30, "BF16", 1, 2,
        [](const std::byte* b, float* out) { *out = bfloat16::from_bits(load<std::uint16_t>(b)); }},
    GgufType{
        2, "Q4_0", 32, 18,
        [](const std::byte* b, float* out) { decode_centred(b + 2, 0, load_half(b), 8, out); }},
    GgufType{3, "Q4_1", 32, 20,
             [](const std::byte* b, float* out) {
               decode_affine(b + 4, 0, load_half(b), load_half(b + 2), out);
             }},
    GgufType{6, "Q5_0", 32, 22,
             [](const std::byte* b, float* out) {
               decode_centred(b + 6, load<std::uint32_t>(b + 2), load_half(b), 16, out);
             }},
    GgufType{7, "Q5_1", 32, 24,
             [](const std::byte* b, float* out) {
               decode_affine(b + 8, load<std::uint32_t>(b + 4), load_half(b), load_half(b + 2),
                             out);
             }},
    GgufType{8, "Q8_0", 32, 34,
             [](const std::byte* b, float* out) {
               const float scale = load_half(b);
               for (int i = 0; i < 32; ++i)
                 out[i] = rounded_product(static_cast<float>(load<std::int8_t>(b + 2 + i)), scale);
             }},
    GgufType{10, "Q2_K", 256, 84, decode_q2_k},
    GgufType{11, "Q3_K", 256, 110, decode_q3_k},
    GgufType{12, "Q4_K", 256, 144, decode_q4_k},
    GgufType{13, "Q5_K", 256, 176, decode_q5_k},
    GgufType{14, "Q6_K", 256, 210, decode_q6_k},
    GgufType{20, "IQ4_NL", 32, 18,
             [](const std::byte* b, float* out) {
               decode_table_of(decode_table<IQ4NL>.at, b + 2, load_half(b), out);
             }},
    GgufType{23, "IQ4_XS", 256, 136,
             [](const std::byte* b, float* out) {
               const float d = load_half(b);
               const auto high = load<std::uint16_t>(b + 2);
               for (int part = 0; part < 8; ++part) {
                 const unsigned low = std::to_integer<unsigned>(b[4 + part / 2]) >> (part % 2 * 4);
                 const int scale = static_cast<int>((low & 15u) | ((high >> (2 * part)) & 3u) << 4);
                 decode_table_of(decode_table<IQ4NL>.at, b + 8 + 16 * part,
                                 rounded_product(d, static_cast<float>(scale - 32)),
                                 out + 32 * part);
               }
             }},
    GgufType{39, "MXFP4", 32, 17, [](const std::byte* b, float* out) {
               // Half of the power of two; 255 is no NaN here but 2^127, as in ggml.
               const auto e = std::to_integer<std::uint32_t>(b[0]);
               const std::uint32_t bits = e < 2 ? 0x00200000u << e : (e - 1) << 23;
               decode_table_of(mxfp4_values, b + 1, __builtin_bit_cast(float, bits), out);
             }}};

}  // namespace detail

/// Finds a type by its id; null if this library can't decode it.
inline const GgufType* find_gguf_type(std::uint32_t id) {
  for (const GgufType& type : detail::gguf_types)
    if (type.id == id) return &type;
  return nullptr;
}

/// The name and the block size of a type, enough to copy tensors without decoding them.
struct GgufLayout {
  std::uint32_t id;
  const char* name;
  Index block;  ///< elements of a block
  Index bytes;  ///< bytes of a block
};

namespace detail {

/// Types of ggml that this library stores and copies but does not decode.
inline constexpr std::array gguf_other_types{
    GgufLayout{9, "Q8_1", 32, 36},      GgufLayout{15, "Q8_K", 256, 292},
    GgufLayout{16, "IQ2_XXS", 256, 66}, GgufLayout{17, "IQ2_XS", 256, 74},
    GgufLayout{18, "IQ3_XXS", 256, 98}, GgufLayout{19, "IQ1_S", 256, 50},
    GgufLayout{21, "IQ3_S", 256, 110},  GgufLayout{22, "IQ2_S", 256, 82},
    GgufLayout{24, "I8", 1, 1},         GgufLayout{25, "I16", 1, 2},
    GgufLayout{26, "I32", 1, 4},        GgufLayout{27, "I64", 1, 8},
    GgufLayout{28, "F64", 1, 8},        GgufLayout{29, "IQ1_M", 256, 56},
    GgufLayout{34, "TQ1_0", 256, 54},   GgufLayout{35, "TQ2_0", 256, 66}};

}  // namespace detail

/// The layout of a type, whether or not it can be decoded; nullopt for an unknown type.
inline std::optional<GgufLayout> find_gguf_layout(std::uint32_t id) {
  if (const GgufType* type = find_gguf_type(id))
    return GgufLayout{type->id, type->name, type->block, type->bytes};
  for (const GgufLayout& type : detail::gguf_other_types)
    if (type.id == id) return type;
  return std::nullopt;
}

/// The same by name.
inline std::optional<GgufLayout> find_gguf_layout(std::string_view name) {
  for (const GgufType& type : detail::gguf_types)
    if (type.name == name) return find_gguf_layout(type.id);
  for (const GgufLayout& type : detail::gguf_other_types)
    if (type.name == name) return type;
  return std::nullopt;
}

/// The name of a type: "Q4_0" for 2. An unknown type gets its number: "99".
inline std::string gguf_type_name(std::uint32_t id) {
  const auto layout = find_gguf_layout(id);
  return layout ? layout->name : std::to_string(id);
}

/// The names of all types that can be decoded, with commas between.
inline std::string gguf_type_names() {
  std::string names;
  for (const GgufType& type : detail::gguf_types)
    names += (names.empty() ? "" : ", ") + std::string(type.name);
  return names;
}

/// Decodes out.size() weights. Throws FormatError for a type that can't be decoded or bytes that do
/// not match the size.
inline void gguf_decode(std::uint32_t id, std::span<const std::byte> bytes, std::span<float> out) {
  const GgufType* type = find_gguf_type(id);
  require<FormatError>(type != nullptr, "the type ", gguf_type_name(id),
                       " is not supported; expected one of ", gguf_type_names());
  const Index blocks = static_cast<Index>(out.size()) / type->block;
  require<FormatError>(blocks * type->block == static_cast<Index>(out.size()) &&
                           blocks * type->bytes == static_cast<Index>(bytes.size()),
                       type->name, ": ", bytes.size(), " bytes do not hold ", out.size(),
                       " weights");
  for (Index i = 0; i < blocks; ++i)
    type->decode(bytes.data() + i * type->bytes, out.data() + i * type->block);
}

}  // namespace qlora
