/// How an optimizer keeps its state between steps: as numbers, or as blockwise 8-bit codes.
///
/// Fresh state is zero bytes and stands for zeros. `bytes(total)` is the size in bytes of `total`
/// numbers. `load` decodes `count` of them from number `begin` on, which must be a multiple of
/// `block`, and `store` encodes them again. All functions read and write nothing but the memory
/// that they are given, so that threads may work on different numbers at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "qlora/codebook/dynamic.hpp"
#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/optim/moment_code.hpp"
#include "qlora/optim/random_rounding.hpp"
#include "qlora/quant/encode.hpp"

namespace qlora::inline QLORA_ABI {

/// Keeps one number of type T per element: float, double or bfloat16. Rounding to bfloat16 is
/// stochastic, because state that is rounded to the nearest would stall: with beta2 = 0.999 a
/// second moment falls by at most a thousandth of itself per step, which is at most a quarter
/// of the way to the next bfloat16.
template <class T = float>
struct NumberState {
  static_assert(std::is_floating_point_v<T> || std::is_same_v<T, bfloat16>,
                "NumberState: the numbers must be float, double or bfloat16");
  using Number = T;
  static constexpr Index block = 256;   ///< elements that no tile divides
  static constexpr Index smallest = 0;  ///< parameters with fewer elements are kept in float

  /// Bytes of `total` numbers.
  static constexpr Index bytes(Index total) { return total * static_cast<Index>(sizeof(T)); }

  /// Reads `count` numbers from number `begin` on into `to`.
  template <class U>
  static void load(const std::byte* from, Index, Index begin, Index count, bool, U* to) {
    const T* numbers = reinterpret_cast<const T*>(from) + begin;
    for (Index i = 0; i < count; ++i) to[i] = static_cast<U>(numbers[i]);
  }
  /// Calls `body(bytes, size)` for the memory of `count` numbers from number `begin` on. Byte is
  /// std::byte or const std::byte.
  template <class Byte, class Body>
  static void parts(Byte* at, Index, Index begin, Index count, Body&& body) {
    body(at + bytes(begin), bytes(count));
  }
  /// The name of this kind of state in files, such as "numbers-4".
  static std::string name() { return message("numbers-", sizeof(T)); }

  /// Writes `count` numbers to number `begin` and the following. A bfloat16 is rounded by the draws
  /// that `rounding` names.
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

/// Keeps one code of 8 bits per element and one scale per block, the block's largest magnitude. The
/// codebook `Signed` serves moments of either sign, and `Unsigned` serves moments that are never
/// negative. Dettmers et al. 2022, "8-bit optimizers via block-wise quantization"; the defaults are
/// those of bitsandbytes. A code keeps the sign of its number.
///
/// A number is rounded to the nearest code, as in bitsandbytes. So a number stays where it is as
/// long as it changes by less than half the distance between two codes per step, relative to its
/// block's largest magnitude (about a hundredth). State that must not stall belongs in bfloat16 or
/// float.
template <class Signed = Dynamic8, class Unsigned = UnsignedDynamic8, int BlockSize = 256>
struct BlockwiseState {
  static_assert(code_bits<Signed> == 8 && code_bits<Unsigned> == 8,
                "BlockwiseState: the codebooks must have 129 to 256 values");
  static_assert(SortedCodebook<Signed> && SortedCodebook<Unsigned>,
                "BlockwiseState: the codebooks must be in ascending order");
  static constexpr Index block = BlockSize;  ///< elements that share a scale; no tile divides them
  static constexpr Index smallest = 4096;    ///< parameters with fewer elements are kept in float

  /// Bytes of `total` numbers: one float per block, then the codes.
  static constexpr Index bytes(Index total) { return code_offset(total) + (total + 3) / 4 * 4; }

  /// Decodes `count` numbers from number `begin` on into `to`; is_signed chooses the codebook.
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
  /// Encodes `count` numbers as number `begin` and the following.
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

  /// Calls `body(bytes, size)` for the scales and then for the codes of `count` numbers from number
  /// `begin` on.
  template <class Byte, class Body>
  static void parts(Byte* at, Index total, Index begin, Index count, Body&& body) {
    const Index blocks = (count + block - 1) / block;
    body(at + begin / block * static_cast<Index>(sizeof(float)),
         blocks * static_cast<Index>(sizeof(float)));
    body(at + code_offset(total) + begin, count);
  }
  /// The name of this kind of state in files, such as "codes-256".
  static std::string name() { return message("codes-", BlockSize); }

 private:
  static constexpr Index code_offset(Index total) {
    return (total + block - 1) / block * static_cast<Index>(sizeof(float));
  }

  template <class Map, class U>
  static void decode_block(const std::uint8_t* codes, Index count, float absmax, U* to) {
#if QLORA_HAS_VECTORS
    if constexpr (std::is_same_v<U, float>) {
      const simd::VectorDecoder<8> decoder(decode_table<Map>.at, simd::lookup_table<Map>);
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
    simd::encode_values<Map>(in_units, count, codes);
    for (Index i = 0; i < count; ++i) codes[i] = with_sign_of<Map>(number[i], codes[i]);
    return absmax;
  }
};

/// 8-bit state as bitsandbytes keeps it: dynamic codes in blocks of 256.
using Blockwise8bit = BlockwiseState<>;

}  // namespace qlora::inline QLORA_ABI
