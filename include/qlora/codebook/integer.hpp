/// Equally spaced codebooks.
#pragma once

#include <array>

#include "qlora/codebook/codebook.hpp"

namespace qlora {

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

using Int4 = Int<4>;

}  // namespace qlora
