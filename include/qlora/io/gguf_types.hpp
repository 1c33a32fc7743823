/// The tensor types of GGUF files: their block layout and their decoding to floats, as ggml stores
/// them.
///
/// Types that are formats of this library decode by that format (io/gguf_format.hpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/io/gguf_format.hpp"
#include "qlora/io/gguf_type_id.hpp"

namespace qlora::inline QLORA_ABI {

/// How GGUF packs one of its types, and the function that decodes one block of it.
struct GgufType {
  GgufTypeId id;
  const char* name;
  Index block;  ///< weights per block
  Index bytes;  ///< bytes per block
  void (*decode)(const std::byte* block, float* out);
};

namespace io_detail {

/// A type that is a Format of this library.
template <GgufFormat F>
constexpr GgufType gguf_type_of(const char* name) {
  return {GgufTypeOf<F>::id, name, GgufTypeOf<F>::weights, static_cast<Index>(GgufTypeOf<F>::bytes),
          decode_gguf_block<F>};
}

inline constexpr std::array gguf_types{
    GgufType{GgufTypeId::f32, "F32", 1, 4,
             [](const std::byte* b, float* out) { *out = load<float>(b); }},
    GgufType{GgufTypeId::f16, "F16", 1, 2,
             [](const std::byte* b, float* out) { *out = load_half(b); }},
    GgufType{
        GgufTypeId::bf16, "BF16", 1, 2,
        [](const std::byte* b, float* out) { *out = bfloat16::from_bits(load<std::uint16_t>(b)); }},
    gguf_type_of<formats::q4_0>("Q4_0"),
    gguf_type_of<formats::q4_1>("Q4_1"),
    gguf_type_of<formats::q5_0>("Q5_0"),
    gguf_type_of<formats::q5_1>("Q5_1"),
    gguf_type_of<formats::q8_0>("Q8_0"),
    gguf_type_of<formats::q2_k>("Q2_K"),
    gguf_type_of<formats::q3_k>("Q3_K"),
    gguf_type_of<formats::q4_k>("Q4_K"),
    gguf_type_of<formats::q5_k>("Q5_K"),
    gguf_type_of<formats::q6_k>("Q6_K"),
    gguf_type_of<formats::iq4_nl>("IQ4_NL"),
    gguf_type_of<formats::iq4_xs>("IQ4_XS"),
    gguf_type_of<formats::mxfp4>("MXFP4")};

}  // namespace io_detail

/// Finds a type by its id; null if this library can't decode it.
inline const GgufType* find_gguf_type(GgufTypeId id) {
  for (const GgufType& type : io_detail::gguf_types)
    if (type.id == id) return &type;
  return nullptr;
}

/// The name and the block size of a type, enough to copy tensors without decoding them.
struct GgufLayout {
  GgufTypeId id;
  const char* name;
  Index block;  ///< elements of a block
  Index bytes;  ///< bytes of a block
};

namespace io_detail {

/// Types of ggml that this library stores and copies but does not decode.
inline constexpr std::array gguf_other_types{GgufLayout{GgufTypeId::q8_1, "Q8_1", 32, 36},
                                             GgufLayout{GgufTypeId::q8_k, "Q8_K", 256, 292},
                                             GgufLayout{GgufTypeId::iq2_xxs, "IQ2_XXS", 256, 66},
                                             GgufLayout{GgufTypeId::iq2_xs, "IQ2_XS", 256, 74},
                                             GgufLayout{GgufTypeId::iq3_xxs, "IQ3_XXS", 256, 98},
                                             GgufLayout{GgufTypeId::iq1_s, "IQ1_S", 256, 50},
                                             GgufLayout{GgufTypeId::iq3_s, "IQ3_S", 256, 110},
                                             GgufLayout{GgufTypeId::iq2_s, "IQ2_S", 256, 82},
                                             GgufLayout{GgufTypeId::i8, "I8", 1, 1},
                                             GgufLayout{GgufTypeId::i16, "I16", 1, 2},
                                             GgufLayout{GgufTypeId::i32, "I32", 1, 4},
                                             GgufLayout{GgufTypeId::i64, "I64", 1, 8},
                                             GgufLayout{GgufTypeId::f64, "F64", 1, 8},
                                             GgufLayout{GgufTypeId::iq1_m, "IQ1_M", 256, 56},
                                             GgufLayout{GgufTypeId::tq1_0, "TQ1_0", 256, 54},
                                             GgufLayout{GgufTypeId::tq2_0, "TQ2_0", 256, 66}};

}  // namespace io_detail

/// The layout of a type, whether or not it can be decoded; nullopt for an unknown type.
inline std::optional<GgufLayout> find_gguf_layout(GgufTypeId id) {
  if (const GgufType* type = find_gguf_type(id))
    return GgufLayout{type->id, type->name, type->block, type->bytes};
  for (const GgufLayout& type : io_detail::gguf_other_types)
    if (type.id == id) return type;
  return std::nullopt;
}

/// The same by name.
inline std::optional<GgufLayout> find_gguf_layout(std::string_view name) {
  for (const GgufType& type : io_detail::gguf_types)
    if (type.name == name) return find_gguf_layout(type.id);
  for (const GgufLayout& type : io_detail::gguf_other_types)
    if (type.name == name) return type;
  return std::nullopt;
}

/// The name of a type: "Q4_0" for 2. An unknown type gets its number: "99".
inline std::string gguf_type_name(GgufTypeId id) {
  const auto layout = find_gguf_layout(id);
  return layout ? layout->name : std::to_string(static_cast<std::uint32_t>(id));
}

/// The names of all types that can be decoded, with commas between.
inline std::string gguf_type_names() {
  std::string names;
  for (const GgufType& type : io_detail::gguf_types)
    names += (names.empty() ? "" : ", ") + std::string(type.name);
  return names;
}

/// Decodes out.size() weights. Throws FormatError for a type that can't be decoded or bytes that do
/// not match the size.
inline void gguf_decode(GgufTypeId id, std::span<const std::byte> bytes, std::span<float> out) {
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

}  // namespace qlora::inline QLORA_ABI
