/// Sizes of grouped-query attention, for the host and a device.
///
///     qlora::AttentionShape shape{.heads = 9, .kv_heads = 3, .head_width = 64};
#pragma once

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// Heads of queries, heads of keys and values that groups of them share, and the width of each.
struct AttentionShape {
  Index heads = 1, kv_heads = 1, head_width = 1;
  /// Query heads that share a head of keys and values.
  QLORA_HD Index group() const { return heads / kv_heads; }
};

}  // namespace qlora::inline QLORA_ABI
