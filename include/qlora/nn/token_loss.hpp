/// What a next-token loss gives, on the CPU and on a device.
#pragma once

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// A summed loss and how many positions count in it.
struct CrossEntropy {
  double sum = 0;     ///< of the counted negative log likelihoods, in nats
  Index counted = 0;  ///< positions that have a target

  /// Nats per counted position; NaN where none counts.
  double mean() const { return sum / static_cast<double>(counted); }
};

}  // namespace qlora::inline QLORA_ABI
