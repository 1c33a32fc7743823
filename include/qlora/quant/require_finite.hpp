/// Weights must be finite before they are packed.
#pragma once

#include <algorithm>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/numeric.hpp"

namespace qlora::inline QLORA_ABI::quant_detail {

/// Throws NumericError at the first weight of a block that is not finite.
inline void require_finite(const float* weights, Index begin, Index count, Index cols) {
  if (all_finite(weights + begin, count)) return;
  const float* end = weights + begin + count;
  const float* bad = std::find_if_not(weights + begin, end, is_finite);
  if (bad != end)
    throw NumericError(message("quantize: row ", (bad - weights) / cols, ", column ",
                               (bad - weights) % cols, ": expected a finite weight, found ", *bad));
}

}  // namespace qlora::inline QLORA_ABI::quant_detail
