/// Codes of 1 to 8 bits in a stream of bytes, the first code in the highest bits: two 4-bit codes a
/// byte with the first in the high nibble, as in bitsandbytes.
///
///     qlora::write_code<4>(codes, 0, 7);
///     qlora::read_code<4>(codes, 0);   // 7
#pragma once

#include <cstdint>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// Bytes that hold `count` codes of `bits` bits.
QLORA_HD constexpr Index packed_bytes(int bits, Index count) { return (count * bits + 7) / 8; }

/// Code `i` of the stream.
template <int Bits>
QLORA_HD constexpr std::uint8_t read_code(const std::uint8_t* bytes, Index i) {
  static_assert(Bits >= 1 && Bits <= 8, "packing: codes have 1 to 8 bits");
  constexpr unsigned mask = (1u << Bits) - 1u;
  if constexpr (Bits == 8) {
    return bytes[i];
  } else if constexpr (8 % Bits == 0) {
    constexpr Index per_byte = 8 / Bits;
    const auto shift = static_cast<unsigned>((per_byte - 1 - i % per_byte) * Bits);
    return static_cast<std::uint8_t>((bytes[i / per_byte] >> shift) & mask);
  } else {
    const Index bit = i * Bits;
    const Index byte = bit / 8;
    const int end = static_cast<int>(bit % 8) + Bits;
    if (end <= 8) return static_cast<std::uint8_t>((bytes[byte] >> (8 - end)) & mask);
    const unsigned both = (static_cast<unsigned>(bytes[byte]) << 8) | bytes[byte + 1];
    return static_cast<std::uint8_t>((both >> (16 - end)) & mask);
  }
}

/// Sets code `i` of a stream whose bits there are still zero.
template <int Bits>
QLORA_HD constexpr void write_code(std::uint8_t* bytes, Index i, std::uint8_t code) {
  static_assert(Bits >= 1 && Bits <= 8, "packing: codes have 1 to 8 bits");
  const Index bit = i * Bits;
  const Index byte = bit / 8;
  const int end = static_cast<int>(bit % 8) + Bits;
  if (end <= 8) {
    bytes[byte] = static_cast<std::uint8_t>(bytes[byte] | (code << (8 - end)));
  } else {
    bytes[byte] = static_cast<std::uint8_t>(bytes[byte] | (code >> (end - 8)));
    bytes[byte + 1] = static_cast<std::uint8_t>(bytes[byte + 1] | (code << (16 - end)));
  }
}

}  // namespace qlora::inline QLORA_ABI
