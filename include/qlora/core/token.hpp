/// A token's id: a row of the embedding.
#pragma once

#include <cstdint>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// From 0 to the vocabulary's size less 1.
using Token = std::int32_t;

/// The target of a position that does not count in a loss.
inline constexpr Token ignored = -1;

}  // namespace qlora::inline QLORA_ABI
