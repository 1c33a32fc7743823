/// Sizes of grouped-query attention, for the host and a device.
///
///     qlora::AttentionShape shape{.heads = 9, .kv_heads = 3, .head_width = 64};
#pragma once

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// Heads of queries, heads of keys and values that groups of them share, and the width of each; and
/// what some models add. Gemma 2 caps scores: c tanh(score / c). A device's kernels take shapes that
/// are `plain` only.
struct AttentionShape {
  Index heads = 1, kv_heads = 1, head_width = 1;
  Index window = 0;     ///< keys that a query sees, that of its own token among them; 0 for all
  double scale = 0;     ///< factor of the scores; 0 for 1 / sqrt(head_width)
  double soft_cap = 0;  ///< the cap c of the scores; 0 for none
  /// Whether a query sees all keys before it, by scores of the usual factor and without a cap.
  QLORA_HD bool plain() const { return window == 0 && scale == 0 && soft_cap == 0; }
  /// Query heads that share a head of keys and values.
  QLORA_HD Index group() const { return heads / kv_heads; }
};

}  // namespace qlora::inline QLORA_ABI
