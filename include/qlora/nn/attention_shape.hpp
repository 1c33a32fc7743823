/// Sizes of grouped-query attention and where the sequences of a batch lie, for the host and a
/// device.
///
///     qlora::AttentionShape shape{.heads = 9, .kv_heads = 3, .head_width = 64};
///     qlora::SequenceSpan first{.first_query = 0, .queries = 20, .first_key = 0, .past = 0};
#pragma once

#include "qlora/core/config.hpp"

namespace qlora {

struct AttentionShape {
  Index heads = 1, kv_heads = 1, head_width = 1;
  /// Query heads that share a head of keys and values.
  QLORA_HD Index group() const { return heads / kv_heads; }
};

/// One sequence in a batch: its query rows, its key rows, and how many keys lie before its first
/// query (a cache's).
struct SequenceSpan {
  Index first_query = 0, queries = 0;
  Index first_key = 0;
  Index past = 0;
  Index keys() const { return past + queries; }
};

}  // namespace qlora
