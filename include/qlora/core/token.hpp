/// A token's id: a row of the embedding.
#pragma once

#include <cstdint>

namespace qlora {

using Token = std::int32_t;

}  // namespace qlora
