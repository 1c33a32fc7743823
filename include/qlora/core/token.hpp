/// A token's id: a row of the embedding.
#pragma once

#include <cstdint>

namespace qlora {

/// From 0 to the vocabulary's size less 1.
using Token = std::int32_t;

/// The target of a position that does not count in a loss.
inline constexpr Token ignored = -1;

}  // namespace qlora
