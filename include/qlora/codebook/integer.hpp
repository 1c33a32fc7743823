/// Equally spaced codebooks.
///
///     static_assert(qlora::Int4::values.size() == 15 && qlora::FullInt<4>::values.size() == 16);
#pragma once

#include <array>

#include "qlora/codebook/codebook.hpp"
#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// Symmetric integers of 2 to 8 bits: k / (2^(Bits-1) - 1) for k from -(2^(Bits-1) - 1) up. Int<4>
/// is the paper's baseline.
template <int Bits>
struct Int {
  static_assert(Bits >= 2 && Bits <= 8, "Int: the width must be 2 to 8 bits");
  static constexpr auto values = [] {
    constexpr int largest = (1 << (Bits - 1)) - 1;
    std::array<float, 2 * largest + 1> table{};
    for (int k = -largest; k <= largest; ++k)
      table[static_cast<std::size_t>(k + largest)] =
          static_cast<float>(k) / static_cast<float>(largest);
    return table;
  }();
};

/// All 2^Bits integers: k / 2^(Bits-1) for k from -2^(Bits-1) up; there is no code for +1.
template <int Bits>
struct FullInt {
  static_assert(Bits >= 2 && Bits <= 8, "FullInt: the width must be 2 to 8 bits");
  static constexpr auto values = [] {
    constexpr int half = 1 << (Bits - 1);
    std::array<float, 2 * half> table{};
    for (int k = -half; k < half; ++k)
      table[static_cast<std::size_t>(k + half)] = static_cast<float>(k) / static_cast<float>(half);
    return table;
  }();
};

/// The whole numbers 0 to 2^Bits - 1, for scales with a minimum (AffineScale).
template <int Bits>
struct UInt {
  static_assert(Bits >= 1 && Bits <= 8, "UInt: the width must be 1 to 8 bits");
  static constexpr auto values = [] {
    std::array<float, std::size_t{1} << Bits> table{};
    for (std::size_t k = 0; k < table.size(); ++k) table[k] = static_cast<float>(k);
    return table;
  }();
};

/// The 15 values -7/7 to 7/7.
using Int4 = Int<4>;

}  // namespace qlora::inline QLORA_ABI
