/// The functions that gate a feed-forward part, by name; without Eigen.
///
///     static_assert(qlora::GateFunction::silu != qlora::GateFunction::gelu_tanh);
#pragma once

#include <cstdint>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// silu(z) = z / (1 + exp(-z)), or gelu by its approximation with tanh.
enum class GateFunction : std::uint8_t { silu, gelu_tanh };

}  // namespace qlora::inline QLORA_ABI
