/// GGUF's block types that are formats of this library: where a block has its codes and what the
/// format's Scale stores of it.
///
///     float weights[32];
///     qlora::decode_gguf_block<qlora::formats::q4_0>(packed.data(), weights);   // 18 bytes
///
/// All of it is pure functions: safe to call from several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "qlora/core/config.hpp"
#include "qlora/io/gguf_type_id.hpp"
#include "qlora/quant/format_list.hpp"
#include "qlora/quant/named_formats.hpp"

namespace qlora::inline QLORA_ABI {

namespace io_detail {

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}
template <class T>
void save(const T& value, std::byte* to) {
  std::memcpy(to, &value, sizeof(T));
}

inline float load_half(const std::byte* from) {
  return float16::from_bits(load<std::uint16_t>(from));
}

/// `width` bits of a byte, from bit `shift` up.
inline unsigned bits_of(std::byte byte, int shift, int width) {
  return (std::to_integer<unsigned>(byte) >> shift) & ((1u << width) - 1u);
}
/// Sets them where they are still zero.
inline void put_bits(std::byte& byte, int shift, unsigned bits) {
  byte |= static_cast<std::byte>(bits << shift);
}

/// What a Scale stores of each block, in its Storage.
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

/// 32 weights: a head, which is what the Scale stores, and the codes. Of 4-bit codes 0..15 lie in
/// the low nibbles and 16..31 in the high ones. 5-bit codes have four bytes of fifth bits before the
/// rest. 8-bit codes are signed bytes, where the format's count from -128.
template <class F, GgufTypeId Id, class Head>
struct SmallBlock {
  using Fallback = F;
  static constexpr GgufTypeId id = Id;
  static constexpr int weights = 32;
  static constexpr std::size_t bytes =
      sizeof(Head) + static_cast<std::size_t>(packed_bytes(F::code_bits, weights));
  using Storage = typename F::ScaleType::Storage;

  static std::uint8_t code(const std::byte* block, int i) {
    const std::byte* codes = block + sizeof(Head);
    if constexpr (F::code_bits == 4) {
      return static_cast<std::uint8_t>(bits_of(codes[i % 16], i < 16 ? 0 : 4, 4));
    } else if constexpr (F::code_bits == 5) {
      return static_cast<std::uint8_t>(bits_of(codes[4 + i % 16], i < 16 ? 0 : 4, 4) |
                                       bits_of(codes[i / 8], i % 8, 1) << 4);
    } else {
      return std::to_integer<std::uint8_t>(codes[i] ^ std::byte{128});
    }
  }
  static void put_code(std::byte* block, int i, std::uint8_t code) {
    std::byte* codes = block + sizeof(Head);
    if constexpr (F::code_bits == 4) {
      put_bits(codes[i % 16], i < 16 ? 0 : 4, code);
    } else if constexpr (F::code_bits == 5) {
      put_bits(codes[4 + i % 16], i < 16 ? 0 : 4, code & 15u);
      put_bits(codes[i / 8], i % 8, code >> 4u);
    } else {
      codes[i] = std::byte{code} ^ std::byte{128};
    }
  }
  static void make_room(Storage& scale, Index blocks) {
    heads_of(scale).resize(static_cast<std::size_t>(blocks));
  }
  static void load_scales(const std::byte* block, Storage& scale, Index first) {
    heads_of(scale)[static_cast<std::size_t>(first)] = load<Head>(block);
  }
  static void save_scales(const Storage& scale, Index first, std::byte* block) {
    save<Head>(heads_of(scale)[static_cast<std::size_t>(first)], block);
  }
  /// The scale of a block of F, of which there is one.
  static auto scale_of(const std::byte* block, int) {
    const auto head = load<Head>(block);
    return typename F::ScaleType::View{&head}(0);
  }
};

/// The places of Q4_K and Q5_K: two halves, 12 bytes of scales and minima of 6 bits, perhaps 32
/// bytes of fifth bits, 128 of low nibbles.
template <int Bits>
struct KPartsOf32 {
  static constexpr std::size_t bytes = Bits == 4 ? 144 : 176;
  static constexpr int super_scale = 0, super_minimum = 2;
  static constexpr int low = Bits == 4 ? 16 : 48;

  static unsigned code(const std::byte* b, int i) {
    const unsigned nibble = bits_of(b[low + i / 64 * 32 + i % 32], i / 32 % 2 * 4, 4);
    if constexpr (Bits == 4) return nibble;
    return nibble | bits_of(b[16 + i % 32], i / 32, 1) << 4;
  }
  static void put_code(std::byte* b, int i, unsigned code) {
    put_bits(b[low + i / 64 * 32 + i % 32], i / 32 % 2 * 4, code & 15u);
    if constexpr (Bits == 5) put_bits(b[16 + i % 32], i / 32, code >> 4);
  }
  // Parts 4 to 7 are in two pieces.
  static unsigned scale_code(const std::byte* b, int part) {
    if (part < 4) return bits_of(b[4 + part], 0, 6);
    return bits_of(b[8 + part], 0, 4) | bits_of(b[part], 6, 2) << 4;
  }
  static unsigned minimum_code(const std::byte* b, int part) {
    if (part < 4) return bits_of(b[8 + part], 0, 6);
    return bits_of(b[8 + part], 4, 4) | bits_of(b[4 + part], 6, 2) << 4;
  }
  static void put_scale_code(std::byte* b, int part, unsigned code) {
    if (part < 4) return put_bits(b[4 + part], 0, code);
    put_bits(b[8 + part], 0, code & 15u);
    put_bits(b[part], 6, code >> 4);
  }
  static void put_minimum_code(std::byte* b, int part, unsigned code) {
    if (part < 4) return put_bits(b[8 + part], 0, code);
    put_bits(b[8 + part], 4, code & 15u);
    put_bits(b[4 + part], 6, code >> 4);
  }
};

/// Q2_K: 16 bytes of scales and minima of 4 bits, 64 of codes of 2 bits in two halves, two halves.
struct KQ2 {
  static constexpr std::size_t bytes = 84;
  static constexpr int super_scale = 80, super_minimum = 82;
  static unsigned code(const std::byte* b, int i) {
    return bits_of(b[16 + i / 128 * 32 + i % 32], i % 128 / 32 * 2, 2);
  }
  static void put_code(std::byte* b, int i, unsigned code) {
    put_bits(b[16 + i / 128 * 32 + i % 32], i % 128 / 32 * 2, code);
  }
  static unsigned scale_code(const std::byte* b, int part) { return bits_of(b[part], 0, 4); }
  static unsigned minimum_code(const std::byte* b, int part) { return bits_of(b[part], 4, 4); }
  static void put_scale_code(std::byte* b, int part, unsigned code) { put_bits(b[part], 0, code); }
  static void put_minimum_code(std::byte* b, int part, unsigned code) {
    put_bits(b[part], 4, code);
  }
};

/// Q3_K: 32 bytes of high bits, 64 of low pairs, 12 of scales of 6 bits, a half. The high bit is
/// set where nothing is taken off, so that codes count from -4.
struct KQ3 {
  static constexpr std::size_t bytes = 110;
  static constexpr int super_scale = 108;
  static unsigned code(const std::byte* b, int i) {
    return bits_of(b[32 + i / 128 * 32 + i % 32], i % 128 / 32 * 2, 2) |
           bits_of(b[i % 32], i / 32, 1) << 2;
  }
  static void put_code(std::byte* b, int i, unsigned code) {
    put_bits(b[32 + i / 128 * 32 + i % 32], i % 128 / 32 * 2, code & 3u);
    put_bits(b[i % 32], i / 32, code >> 2);
  }
  static unsigned scale_code(const std::byte* b, int part) {
    return bits_of(b[96 + part % 8], part / 8 * 4, 4) | bits_of(b[104 + part % 4], part / 4 * 2, 2)
                                                            << 4;
  }
  static void put_scale_code(std::byte* b, int part, unsigned code) {
    put_bits(b[96 + part % 8], part / 8 * 4, code & 15u);
    put_bits(b[104 + part % 4], part / 4 * 2, code >> 4);
  }
};

/// Q6_K: 128 bytes of low nibbles, 64 of high pairs, 16 signed scales of 8 bits, a half.
struct KQ6 {
  static constexpr std::size_t bytes = 210;
  static constexpr int super_scale = 208;
  static unsigned code(const std::byte* b, int i) {
    return bits_of(b[i / 128 * 64 + i % 64], i % 128 / 64 * 4, 4) |
           bits_of(b[128 + i / 128 * 32 + i % 32], i % 128 / 32 * 2, 2) << 4;
  }
  static void put_code(std::byte* b, int i, unsigned code) {
    put_bits(b[i / 128 * 64 + i % 64], i % 128 / 64 * 4, code & 15u);
    put_bits(b[128 + i / 128 * 32 + i % 32], i % 128 / 32 * 2, code >> 4);
  }
  static unsigned scale_code(const std::byte* b, int part) {
    return std::to_integer<unsigned>(b[192 + part] ^ std::byte{128});
  }
  static void put_scale_code(std::byte* b, int part, unsigned code) {
    b[192 + part] = static_cast<std::byte>(code) ^ std::byte{128};
  }
};

/// IQ4_XS: a half, 2 and 4 bytes of scales of 6 bits, 128 of IQ4_NL's codes in eight parts.
struct KIq4Xs {
  static constexpr std::size_t bytes = 136;
  static constexpr int super_scale = 0;
  static unsigned code(const std::byte* b, int i) {
    return bits_of(b[8 + i / 32 * 16 + i % 16], i % 32 / 16 * 4, 4);
  }
  static void put_code(std::byte* b, int i, unsigned code) {
    put_bits(b[8 + i / 32 * 16 + i % 16], i % 32 / 16 * 4, code);
  }
  static unsigned scale_code(const std::byte* b, int part) {
    return bits_of(b[4 + part / 2], part % 2 * 4, 4) | bits_of(b[2 + part / 4], part % 4 * 2, 2)
                                                           << 4;
  }
  static void put_scale_code(std::byte* b, int part, unsigned code) {
    put_bits(b[4 + part / 2], part % 2 * 4, code & 15u);
    put_bits(b[2 + part / 4], part % 4 * 2, code >> 4);
  }
};

/// 256 weights in parts, whose scales are coded: `Places` says where each number lies. `Instead` is
/// what llama.cpp writes for rows that such blocks do not fill.
template <class F, GgufTypeId Id, class Places, class Instead>
struct KBlock {
  using Fallback = Instead;
  static constexpr GgufTypeId id = Id;
  static constexpr int weights = 256, parts = weights / F::block_size;
  static constexpr std::size_t bytes = Places::bytes;
  static constexpr bool has_minima = requires { Places::super_minimum; };
  static constexpr int scale_bits = F::ScaleType::code_bits;
  using Storage = typename F::ScaleType::Storage;

  static std::uint8_t code(const std::byte* block, int i) {
    return static_cast<std::uint8_t>(Places::code(block, i));
  }
  static void put_code(std::byte* block, int i, std::uint8_t code) {
    Places::put_code(block, i, code);
  }
  static void make_room(Storage& scale, Index blocks) { scale.resize(blocks); }
  static void load_scales(const std::byte* block, Storage& scale, Index first) {
    const auto super = static_cast<std::size_t>(first / parts);
    if constexpr (has_minima) {
      scale.supers[super] = {load<float16>(block + Places::super_scale),
                             load<float16>(block + Places::super_minimum)};
    } else {
      scale.supers[super] = load<float16>(block + Places::super_scale);
    }
    for (int part = 0; part < parts; ++part) {
      const auto put = [&](std::vector<std::uint8_t>& codes, unsigned code) {
        write_code<scale_bits>(codes.data(), first + part, static_cast<std::uint8_t>(code));
      };
      put(scale.codes, Places::scale_code(block, part));
      if constexpr (has_minima) put(scale.minima, Places::minimum_code(block, part));
    }
  }
  static void save_scales(const Storage& scale, Index first, std::byte* block) {
    const auto& super = scale.supers[static_cast<std::size_t>(first / parts)];
    if constexpr (has_minima) {
      save(super.scale, block + Places::super_scale);
      save(super.minimum, block + Places::super_minimum);
    } else {
      save(super, block + Places::super_scale);
    }
    for (int part = 0; part < parts; ++part) {
      Places::put_scale_code(block, part, read_code<scale_bits>(scale.codes.data(), first + part));
      if constexpr (has_minima)
        Places::put_minimum_code(block, part,
                                 read_code<scale_bits>(scale.minima.data(), first + part));
    }
  }
  /// The scale of a block of F, which is a part.
  static auto scale_of(const std::byte* block, int part) {
    const auto scale = static_cast<std::uint8_t>(Places::scale_code(block, part));
    if constexpr (has_minima) {
      const auto minimum = static_cast<std::uint8_t>(Places::minimum_code(block, part));
      return F::ScaleType::scale_of({load<float16>(block + Places::super_scale),
                                     load<float16>(block + Places::super_minimum)},
                                    scale, minimum);
    } else {
      return F::ScaleType::scale_of(load<float16>(block + Places::super_scale), scale);
    }
  }
};

}  // namespace io_detail

/// The type that a format has in GGUF, `id`, and its blocks there; only its specializations exist.
/// `Fallback` is the format of rows that the blocks do not fill: F itself where there is no other.
template <class F>
struct GgufTypeOf;
template <>
struct GgufTypeOf<formats::q4_0> : io_detail::SmallBlock<formats::q4_0, GgufTypeId::q4_0, float16> {
};
template <>
struct GgufTypeOf<formats::q4_1>
    : io_detail::SmallBlock<formats::q4_1, GgufTypeId::q4_1, AffineScale<float16>::Step> {};
template <>
struct GgufTypeOf<formats::q5_0> : io_detail::SmallBlock<formats::q5_0, GgufTypeId::q5_0, float16> {
};
template <>
struct GgufTypeOf<formats::q5_1>
    : io_detail::SmallBlock<formats::q5_1, GgufTypeId::q5_1, AffineScale<float16>::Step> {};
template <>
struct GgufTypeOf<formats::q8_0> : io_detail::SmallBlock<formats::q8_0, GgufTypeId::q8_0, float16> {
};
template <>
struct GgufTypeOf<formats::iq4_nl>
    : io_detail::SmallBlock<formats::iq4_nl, GgufTypeId::iq4_nl, float16> {};
template <>
struct GgufTypeOf<formats::mxfp4>
    : io_detail::SmallBlock<formats::mxfp4, GgufTypeId::mxfp4, std::uint8_t> {};
template <>
struct GgufTypeOf<formats::q2_k>
    : io_detail::KBlock<formats::q2_k, GgufTypeId::q2_k, io_detail::KQ2, formats::q4_0> {};
template <>
struct GgufTypeOf<formats::q3_k>
    : io_detail::KBlock<formats::q3_k, GgufTypeId::q3_k, io_detail::KQ3, formats::q4_0> {};
template <>
struct GgufTypeOf<formats::q4_k>
    : io_detail::KBlock<formats::q4_k, GgufTypeId::q4_k, io_detail::KPartsOf32<4>, formats::q5_0> {
};
template <>
struct GgufTypeOf<formats::q5_k>
    : io_detail::KBlock<formats::q5_k, GgufTypeId::q5_k, io_detail::KPartsOf32<5>, formats::q5_1> {
};
template <>
struct GgufTypeOf<formats::q6_k>
    : io_detail::KBlock<formats::q6_k, GgufTypeId::q6_k, io_detail::KQ6, formats::q8_0> {};

template <>
struct GgufTypeOf<formats::iq4_xs>
    : io_detail::KBlock<formats::iq4_xs, GgufTypeId::iq4_xs, io_detail::KIq4Xs, formats::iq4_nl> {};

/// A format with blocks of its own in GGUF.
template <class F>
concept GgufFormat = requires {
  GgufTypeOf<F>::id;
};

/// The formats that GGUF has.
using GgufFormats =
    FormatList<formats::q4_0, formats::q4_1, formats::q5_0, formats::q5_1, formats::q8_0,
               formats::q2_k, formats::q3_k, formats::q4_k, formats::q5_k, formats::q6_k,
               formats::iq4_xs, formats::iq4_nl, formats::mxfp4>;

/// Calls `visit.operator()<Format>()` for a GGUF type that is a format of this library; returns
/// false for any other type.
template <class Visit>
bool visit_gguf_format(GgufTypeId id, Visit&& visit) {
  return GgufFormats::any([&]<class F>() {
    if (GgufTypeOf<F>::id != id) return false;
    visit.template operator()<F>();
    return true;
  });
}

/// The weights of a block, GgufTypeOf<F>::weights of them: the format's code values times their
/// scales. MXFP4 differs from OCP's as ggml does: the exponent 255 is no NaN, and no zero is
/// negative.
template <GgufFormat F>
void decode_gguf_block(const std::byte* block, float* out) {
  using Code = typename F::CodebookType;
  using Type = GgufTypeOf<F>;
  if constexpr (std::is_same_v<F, formats::mxfp4>) {
    // Twice the value times half of the power of two, which goes up to 2^127.
    const auto head = io_detail::load<std::uint8_t>(block);
    const float half = head == 0 ? __builtin_bit_cast(float, 0x00200000u)
                                 : e8m0::from_bits(static_cast<std::uint8_t>(head - 1));
    for (int i = 0; i < Type::weights; ++i)
      out[i] = rounded_sum(rounded_product(2 * decode<Code>(Type::code(block, i)), half), 0.f);
  } else {
    for (int part = 0, i = 0; i < Type::weights; ++part) {
      const auto scale = Type::scale_of(block, part);
      for (const int end = i + F::block_size; i < end; ++i)
        out[i] = scaled(decode<Code>(Type::code(block, i)), scale);
    }
  }
}

}  // namespace qlora::inline QLORA_ABI
