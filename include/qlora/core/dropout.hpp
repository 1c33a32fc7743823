/// Which elements dropout drops: a pure function of a key, the row and the column, the same on the
/// CPU and on a device. The backward pass makes the choices again instead of reading a stored mask.
///
///     const qlora::DropoutMask<float> mask(0.05f, key);
///     const auto stream = mask.stream(row);
///     const float y = mask.apply(0.5f, mask.word(stream, 3));   // in column 3: 0 or 0.5 / 0.95
///
/// All of it is values and pure functions: safe to use from several threads.
#pragma once

#include <cstdint>

#include "qlora/core/config.hpp"
#include "qlora/core/random.hpp"

namespace qlora::inline QLORA_ABI {

/// Whether dropout acts, and the key that chooses what it drops.
struct DropoutKey {
  bool training = false;
  std::uint64_t key = 0;
};

/// Drops an element with probability p in [0, 1) and divides the others by 1 - p, in T's
/// arithmetic. Without arguments, or with p = 0, it drops nothing.
template <class T = float>
struct DropoutMask {
  static constexpr Index together = 4;  ///< consecutive columns that share a random block

  std::uint64_t key = 0;
  std::uint32_t threshold = 0;  ///< p 2^32
  T keep_scale = 1;             ///< 1 / (1 - p)

  DropoutMask() = default;
  QLORA_HD constexpr DropoutMask(float p, std::uint64_t key_)
      : key(key_),
        threshold(static_cast<std::uint32_t>(static_cast<double>(p) * 4294967296.0)),
        keep_scale(T(1) / (T(1) - static_cast<T>(p))) {}

  /// Whether it drops anything.
  QLORA_HD constexpr bool acts() const { return threshold > 0; }

  /// The stream of random numbers of a row.
  QLORA_HD constexpr std::uint64_t stream(Index row) const {
    return derive_key(key, static_cast<std::uint64_t>(row));
  }
  /// The random words of columns [4 block, 4 block + 4) of a row.
  QLORA_HD constexpr PhiloxBlock words(std::uint64_t row_stream, Index block) const {
    return philox(row_stream, static_cast<std::uint64_t>(block));
  }
  /// The random word of one column of a row.
  QLORA_HD constexpr std::uint32_t word(std::uint64_t row_stream, Index col) const {
    // No index that the compiler does not know: a device would put the words into memory.
    const PhiloxBlock random = words(row_stream, col / together);
    const std::uint32_t low = col % 2 == 0 ? random.word[0] : random.word[1];
    const std::uint32_t high = col % 2 == 0 ? random.word[2] : random.word[3];
    return col % 4 < 2 ? low : high;
  }

  /// Whether the element of that random word is dropped.
  QLORA_HD constexpr bool drops(std::uint32_t random) const { return random < threshold; }
  /// What the element of that random word is multiplied by.
  QLORA_HD constexpr T factor(std::uint32_t random) const {
    return drops(random) ? T(0) : keep_scale;
  }
  /// What becomes of x: 0 where it is dropped, also where x is not finite.
  QLORA_HD constexpr T apply(T x, std::uint32_t random) const {
    return drops(random) ? T(0) : x * keep_scale;
  }
};

}  // namespace qlora::inline QLORA_ABI
