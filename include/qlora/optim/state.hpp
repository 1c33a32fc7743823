/// How an optimizer keeps its state between steps: as numbers, or as blockwise 8-bit codes.
///
/// Fresh state is zero bytes and means zeros. `bytes(total)` is the size of `total` numbers; `load`
/// and `store` turn `count` of them from `begin` on, which is a multiple of `block`, into the
/// arithmetic's numbers and back. All functions are pure but for the memory they are given.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "qlora/codebook/dynamic.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/optim/moment_code.hpp"
#include "qlora/optim/random_rounding.hpp"
#include "qlora/quant/encode.hpp"

namespace qlora {

/// One number of T an element: float, double or bfloat16. A bfloat16 is rounded by chance, because
/// rounding to the nearest would stall: with beta2 = 0.999 a second moment falls by a thousandth of
/// itself a step at most, a quarter of the way to the next bfloat16.
template <class T = float>
struct StateOf {
  static_assert(std::is_floating_point_v<T> || std::is_same_v<T, bfloat16>,
                "StateOf: the numbers must be float, double or bfloat16");
  using Number = T;
  static constexpr Index block = 256;   ///< elements that stay together
  static constexpr Index smallest = 0;  ///< parameters below this size are kept in float

  static constexpr Index bytes(Index total) { return total * static_cast<Index>(sizeof(T)); }

  template <class U>
  static void load(const std::byte* from, Index, Index begin, Index count, bool, U* to) {
    const T* numbers = reinterpret_cast<const T*>(from) + begin;
    for (Index i = 0; i < count; ++i) to[i] = static_cast<U>(numbers[i]);
  }
  /// Calls `body(bytes, size)` for what `count` numbers from `begin` on are in memory. Byte: the
  /// std::byte of state, or a const one.
  template <class Byte, class Body>
  static void parts(Byte* at, Index, Index begin, Index count, Body&& body) {
    body(at + bytes(begin), bytes(count));
  }
  /// Its name in files.
  static std::string name() { return message("numbers-", sizeof(T)); }

  template <class U>
  static void store(const U* from, Index, Index begin, Index count, bool,
                    [[maybe_unused]] const RandomRounding& rounding, std::byte* to) {
    T* numbers = reinterpret_cast<T*>(to) + begin;
    if constexpr (std::is_floating_point_v<T>) {
      for (Index i = 0; i < count; ++i) numbers[i] = static_cast<T>(from[i]);
    } else {
      round_by_chance(from, count, rounding, numbers);
    }
  }
};

/// Codes of 8 bits in blocks that share their largest magnitude: `Signed` for moments of either
/// sign, `Unsigned` for those that are never negative. Dettmers et al. 2022, "8-bit optimizers via
/// block-wise quantization"; the defaults are bitsandbytes'. A code keeps the sign of its number.
///
/// A code is the nearest, as in bitsandbytes. So a number that moves slower than its block's
/// largest magnitude by less than half the distance of two codes (about a hundredth) stays where it
/// is; what must not stall belongs into bfloat16 or float.
template <class Signed = Dynamic8, class Unsigned = UnsignedDynamic8, int BlockSize = 256>
struct BlockwiseState {
  static_assert(code_bits<Signed> == 8 && code_bits<Unsigned> == 8,
                "BlockwiseState: the codebooks must have 129 to 256 values");
  static_assert(SortedCodebook<Signed> && SortedCodebook<Unsigned>,
                "BlockwiseState: the codebooks must be in ascending order");
  static constexpr Index block = BlockSize;
  static constexpr Index smallest = 4096;

  /// A float a block, then the codes.
  static constexpr Index bytes(Index total) { return code_offset(total) + (total + 3) / 4 * 4; }

  template <class U>
  static void load(const std::byte* from, Index total, Index begin, Index count, bool is_signed,
                   U* to) {
    const float* absmax = reinterpret_cast<const float*>(from) + begin / block;
    const auto* codes = reinterpret_cast<const std::uint8_t*>(from) + code_offset(total) + begin;
    for (Index i = 0; i < count; i += block) {
      const Index n = std::min(block, count - i);
      const auto decode = is_signed ? decode_block<Signed, U> : decode_block<Unsigned, U>;
      decode(codes + i, n, absmax[i / block], to + i);
    }
  }
  template <class U>
  static void store(const U* from, Index total, Index begin, Index count, bool is_signed,
                    const RandomRounding&, std::byte* to) {
    float* absmax = reinterpret_cast<float*>(to) + begin / block;
    auto* codes = reinterpret_cast<std::uint8_t*>(to) + code_offset(total) + begin;
    for (Index i = 0; i < count; i += block) {
      const Index n = std::min(block, count - i);
      const auto encode = is_signed ? encode_block<Signed, U> : encode_block<Unsigned, U>;
      absmax[i / block] = encode(from + i, n, codes + i);
    }
  }

  template <class Byte, class Body>
  static void parts(Byte* at, Index total, Index begin, Index count, Body&& body) {
    const Index blocks = (count + block - 1) / block;
    body(at + begin / block * static_cast<Index>(sizeof(float)),
         blocks * static_cast<Index>(sizeof(float)));
    body(at + code_offset(total) + begin, count);
  }
  static std::string name() { return message("codes-", BlockSize); }

 private:
  static constexpr Index code_offset(Index total) {
    return (total + block - 1) / block * static_cast<Index>(sizeof(float));
  }

  template <class Map, class U>
  static void decode_block(const std::uint8_t* codes, Index count, float absmax, U* to) {
#if QLORA_HAS_VECTORS
    if constexpr (std::is_same_v<U, float>) {
      const detail::VectorDecoder<8> decoder(decode_table<Map>.at, detail::lookup_table<Map>);
      return decoder(codes, count, 0, count, absmax, to);
    }
#endif
    for (Index i = 0; i < count; ++i)
      to[i] = static_cast<U>(rounded_product(decode_table<Map>.at[codes[i]], absmax));
  }
  template <class Map, class U>
  static float encode_block(const U* from, Index count, std::uint8_t* codes) {
    if (count <= 0) return 0;
    float number[BlockSize];
    for (Index i = 0; i < count; ++i) number[i] = static_cast<float>(from[i]);
    const float absmax = largest_magnitude(number, count);
    float in_units[BlockSize];
    for (Index i = 0; i < count; ++i) in_units[i] = moment_in_units(number[i], absmax);
    detail::encode_values<Map>(in_units, count, codes);
    for (Index i = 0; i < count; ++i) codes[i] = with_sign_of<Map>(number[i], codes[i]);
    return absmax;
  }
};

using Blockwise8bit = BlockwiseState<>;

}  // namespace qlora
