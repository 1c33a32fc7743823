/// Stochastic rounding: a number is rounded up or down at random, so that the expected value of the
/// result is the number itself. State that changes by less than half the distance between two
/// numbers of its type would never change if it were rounded to the nearest.
///
///     qlora::bfloat16 b = qlora::round_by_chance(s, 0x1234);   // 16 random bits
///
/// Gupta et al. 2015; for bfloat16, Zamirai et al. 2020. All functions are pure: any number of
/// threads may call them.
#pragma once

#include <cstdint>

#include "qlora/core/config.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/core/random.hpp"

namespace qlora::inline QLORA_ABI {

/// The random draws of a run of numbers. Number i of the run takes draw `first` + i of the stream
/// `key`, so that the result does not depend on how a tensor is cut into runs.
struct RandomRounding {
  std::uint64_t key = 0;
  Index first = 0;                      ///< a multiple of RandomRounding::together
  static constexpr Index together = 8;  ///< draws of 16 bits that one random block has
};

/// One of the two bfloat16 numbers around `value`. With a `draw` that is uniform in 16 bits, the
/// expected value of the result is `value`. A number that bfloat16 can hold stays as it is, and no
/// finite number becomes infinite.
constexpr bfloat16 round_by_chance(float value, std::uint16_t draw) {
  if (!is_finite(value)) return bfloat16(value);
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t moved = bits + draw;
  const bool overflows = (moved & 0x7f800000u) == 0x7f800000u;
  return bfloat16::from_bits(static_cast<std::uint16_t>((overflows ? bits : moved) >> 16));
}

/// Rounds `count` numbers in that way, with the draws that `rounding` names.
template <class U>
void round_by_chance(const U* from, Index count, const RandomRounding& rounding, bfloat16* to) {
  constexpr Index together = RandomRounding::together;
  for (Index i = 0; i < count; i += together) {
    const PhiloxBlock block =
        philox(rounding.key, static_cast<std::uint64_t>((rounding.first + i) / together));
    for (Index k = 0; k < together && i + k < count; ++k)
      to[i + k] = round_by_chance(static_cast<float>(from[i + k]),
                                  static_cast<std::uint16_t>(block.word[k / 2] >> (k % 2 * 16)));
  }
}

}  // namespace qlora::inline QLORA_ABI
