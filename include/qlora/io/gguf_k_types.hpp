/// Decoding of GGUF's K types: 256 weights in parts of 16 or 32 whose scales, and in some minima,
/// are themselves coded. ggml, k-quants, 2023.
///
/// Every product and sum is rounded to float by itself, so the weights are those of the gguf
/// package bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "qlora/core/config.hpp"
#include "qlora/core/numeric.hpp"

namespace qlora::inline QLORA_ABI::io_detail {

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

inline float load_half(const std::byte* from) {
  return float16::from_bits(load<std::uint16_t>(from));
}

/// `width` bits of a byte, from bit `shift` up.
inline unsigned bits_of(std::byte byte, int shift, int width) {
  return (std::to_integer<unsigned>(byte) >> shift) & ((1u << width) - 1u);
}

/// scale * code - minimum.
inline float k_weight(float scale, unsigned code, float minimum) {
  return rounded_sum(rounded_product(scale, static_cast<float>(code)), -minimum);
}

/// 16 bytes of 4-bit scales and minima, 64 of codes of 2 bits, two halves.
inline void decode_q2_k(const std::byte* b, float* out) {
  const float d = load_half(b + 80), dmin = load_half(b + 82);
  for (int i = 0; i < 256; ++i) {
    const std::byte both = b[i / 16];
    const float scale = rounded_product(d, static_cast<float>(bits_of(both, 0, 4)));
    const float minimum = rounded_product(dmin, static_cast<float>(bits_of(both, 4, 4)));
    out[i] = k_weight(scale, bits_of(b[16 + i / 128 * 32 + i % 32], i % 128 / 32 * 2, 2), minimum);
  }
}

/// 32 bytes of high bits, 64 of low pairs, 12 of scales of 6 bits, a half.
inline void decode_q3_k(const std::byte* b, float* out) {
  const float d = load_half(b + 108);
  const std::byte* scales = b + 96;
  for (int i = 0; i < 256; ++i) {
    const int part = i / 16;
    const unsigned low = bits_of(scales[part % 8], part / 8 * 4, 4);
    const unsigned high = bits_of(scales[8 + part % 4], part / 4 * 2, 2);
    const float scale =
        rounded_product(d, static_cast<float>(static_cast<int>(low | high << 4) - 32));
    // The high bit is kept inverted: where it is not set, 4 is taken off.
    const int code = static_cast<int>(bits_of(b[32 + i / 128 * 32 + i % 32], i % 128 / 32 * 2, 2)) -
                     (bits_of(b[i % 32], i / 32, 1) ? 0 : 4);
    out[i] = rounded_product(scale, static_cast<float>(code));
  }
}

/// The scale and the minimum of a part in 12 bytes: 6 bits each, for parts 4 to 7 in two pieces.
inline void k_scale_and_minimum(const std::byte* packed, int part, unsigned& scale,
                                unsigned& minimum) {
  if (part < 4) {
    scale = bits_of(packed[part], 0, 6);
    minimum = bits_of(packed[4 + part], 0, 6);
  } else {
    scale = bits_of(packed[4 + part], 0, 4) | bits_of(packed[part - 4], 6, 2) << 4;
    minimum = bits_of(packed[4 + part], 4, 4) | bits_of(packed[part], 6, 2) << 4;
  }
}

/// Parts of 32: two halves, 12 bytes of scales and minima, perhaps 32 bytes of fifth bits, 128 of
/// codes of 4 bits.
inline void decode_k_parts(const std::byte* b, const std::byte* fifth_bits, const std::byte* codes,
                           float* out) {
  const float d = load_half(b), dmin = load_half(b + 2);
  for (int part = 0; part < 8; ++part) {
    unsigned scale_code = 0, minimum_code = 0;
    k_scale_and_minimum(b + 4, part, scale_code, minimum_code);
    const float scale = rounded_product(d, static_cast<float>(scale_code));
    const float minimum = rounded_product(dmin, static_cast<float>(minimum_code));
    for (int i = 0; i < 32; ++i) {
      unsigned code = bits_of(codes[part / 2 * 32 + i], part % 2 * 4, 4);
      if (fifth_bits) code |= bits_of(fifth_bits[i], part, 1) << 4;
      out[part * 32 + i] = k_weight(scale, code, minimum);
    }
  }
}

inline void decode_q4_k(const std::byte* b, float* out) { decode_k_parts(b, nullptr, b + 16, out); }
inline void decode_q5_k(const std::byte* b, float* out) { decode_k_parts(b, b + 16, b + 48, out); }

/// 128 bytes of low nibbles, 64 of high pairs, 16 scales of 8 bits, a half.
inline void decode_q6_k(const std::byte* b, float* out) {
  const float d = load_half(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, within = i % 128;
    const unsigned low = bits_of(b[half * 64 + within % 64], within / 64 * 4, 4);
    const unsigned high = bits_of(b[128 + half * 32 + within % 32], within / 32 * 2, 2);
    const float scale = rounded_product(d, static_cast<float>(load<std::int8_t>(b + 192 + i / 16)));
    out[i] = rounded_product(scale, static_cast<float>(static_cast<int>(low | high << 4) - 32));
  }
}

}  // namespace qlora::inline QLORA_ABI::io_detail
