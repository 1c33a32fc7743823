/// Which of a linear layer's two products is meant, on the CPU and on a device. W: [out, in].
///
///     static_assert(qlora::Side::forward != qlora::Side::backward);
#pragma once

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// The product that a function or a kernel computes.
enum class Side {
  forward,  ///< y = x Wᵀ. x: [tokens, in], y: [tokens, out]
  backward  ///< dx = dy W. dy: [tokens, out], dx: [tokens, in]
};

}  // namespace qlora::inline QLORA_ABI
