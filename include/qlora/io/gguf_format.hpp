/// GGUF's block types that are formats of this library: a head, which is what the format's Scale
/// stores of a block, and the codes of 32 weights.
///
///     float weights[32];
///     qlora::decode_gguf_block<qlora::formats::q4_0>(packed.data(), weights);   // 18 bytes
///
/// All of it is pure functions: safe to call from several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "qlora/core/config.hpp"
#include "qlora/io/gguf_k_types.hpp"
#include "qlora/io/gguf_type_id.hpp"
#include "qlora/quant/named_formats.hpp"

namespace qlora::inline QLORA_ABI {

namespace io_detail {
template <GgufTypeId Id, class HeadType>
struct GgufBlockOf {
  static constexpr GgufTypeId id = Id;
  using Head = HeadType;
};
}  // namespace io_detail

/// The type that a format has in GGUF, `id`, and what a block's `Head` holds; only its
/// specializations exist.
template <class F>
struct GgufTypeOf;
template <>
struct GgufTypeOf<formats::q4_0> : io_detail::GgufBlockOf<GgufTypeId::q4_0, float16> {};
template <>
struct GgufTypeOf<formats::q4_1>
    : io_detail::GgufBlockOf<GgufTypeId::q4_1, AffineScale<float16>::Step> {};
template <>
struct GgufTypeOf<formats::q5_0> : io_detail::GgufBlockOf<GgufTypeId::q5_0, float16> {};
template <>
struct GgufTypeOf<formats::q5_1>
    : io_detail::GgufBlockOf<GgufTypeId::q5_1, AffineScale<float16>::Step> {};
template <>
struct GgufTypeOf<formats::q8_0> : io_detail::GgufBlockOf<GgufTypeId::q8_0, float16> {};
template <>
struct GgufTypeOf<formats::iq4_nl> : io_detail::GgufBlockOf<GgufTypeId::iq4_nl, float16> {};
template <>
struct GgufTypeOf<formats::mxfp4> : io_detail::GgufBlockOf<GgufTypeId::mxfp4, std::uint8_t> {};

/// A format with blocks of its own in GGUF.
template <class F>
concept GgufFormat = requires {
  GgufTypeOf<F>::id;
};

/// Calls `visit.operator()<Format>()` for a GGUF type that is a format of this library; returns
/// false for any other type.
template <class Visit>
bool visit_gguf_format(GgufTypeId id, Visit&& visit) {
  const auto offer = [&]<class F>() {
    if (GgufTypeOf<F>::id != id) return false;
    visit.template operator()<F>();
    return true;
  };
  return offer.template operator()<formats::q4_0>() || offer.template operator()<formats::q4_1>() ||
         offer.template operator()<formats::q5_0>() || offer.template operator()<formats::q5_1>() ||
         offer.template operator()<formats::q8_0>() ||
         offer.template operator()<formats::iq4_nl>() ||
         offer.template operator()<formats::mxfp4>();
}

/// Bytes of a block: head and codes.
template <GgufFormat F>
inline constexpr std::size_t gguf_block_bytes =
    sizeof(typename GgufTypeOf<F>::Head) +
    static_cast<std::size_t>(packed_bytes(F::code_bits, F::block_size));

/// Code `i` of the 32 that follow a block's head. Of 4-bit codes 0..15 lie in the low nibbles and
/// 16..31 in the high ones. 5-bit codes have four bytes of fifth bits before the rest. 8-bit codes
/// are signed bytes, where the format's count from -128.
template <GgufFormat F>
std::uint8_t gguf_code(const std::byte* codes, int i) {
  if constexpr (F::code_bits == 4) {
    return static_cast<std::uint8_t>(io_detail::bits_of(codes[i % 16], i < 16 ? 0 : 4, 4));
  } else if constexpr (F::code_bits == 5) {
    return static_cast<std::uint8_t>(io_detail::bits_of(codes[4 + i % 16], i < 16 ? 0 : 4, 4) |
                                     io_detail::bits_of(codes[i / 8], i % 8, 1) << 4);
  } else {
    return std::to_integer<std::uint8_t>(codes[i] ^ std::byte{128});
  }
}

/// Sets that code where the bytes are still zero.
template <GgufFormat F>
void put_gguf_code(std::uint8_t code, std::byte* codes, int i) {
  if constexpr (F::code_bits == 4) {
    codes[i % 16] |= static_cast<std::byte>(i < 16 ? code : code << 4);
  } else if constexpr (F::code_bits == 5) {
    codes[4 + i % 16] |= static_cast<std::byte>((code & 15) << (i < 16 ? 0 : 4));
    codes[i / 8] |= static_cast<std::byte>(code >> 4 << i % 8);
  } else {
    codes[i] = std::byte{code} ^ std::byte{128};
  }
}

/// The 32 weights of a block: the format's code values times the block's scale. MXFP4 differs from
/// OCP's as ggml does: the exponent 255 is no NaN, and no zero is negative.
template <GgufFormat F>
void decode_gguf_block(const std::byte* block, float* out) {
  using Code = typename F::CodebookType;
  const auto head = io_detail::load<typename GgufTypeOf<F>::Head>(block);
  const std::byte* codes = block + sizeof(head);
  if constexpr (std::is_same_v<F, formats::mxfp4>) {
    // Twice the value times half of the power of two, which goes up to 2^127.
    const float half = head == 0 ? __builtin_bit_cast(float, 0x00200000u)
                                 : e8m0::from_bits(static_cast<std::uint8_t>(head - 1));
    for (int i = 0; i < F::block_size; ++i)
      out[i] = rounded_sum(rounded_product(2 * decode<Code>(gguf_code<F>(codes, i)), half), 0.f);
  } else {
    const auto scale = typename F::ScaleType::View{&head}(0);
    for (int i = 0; i < F::block_size; ++i)
      out[i] = scaled(decode<Code>(gguf_code<F>(codes, i)), scale);
  }
}

}  // namespace qlora::inline QLORA_ABI
