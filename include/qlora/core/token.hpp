/// A token's id: a row of the embedding.
#pragma once

#include <cstdint>

namespace qlora {

/// From 0 to the vocabulary's size less 1.
using Token = std::int32_t;

}  // namespace qlora
