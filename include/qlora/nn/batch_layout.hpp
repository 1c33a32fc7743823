/// Where the rows of a batch stand: several sequences lie one after the other, without padding.
///
///     qlora::BatchLayout two = qlora::uniform_layout(2, 16);   // two sequences of 16 tokens
///
/// Plain values, which any number of threads may read together.
#pragma once

#include <vector>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// One sequence in a batch: its query rows, its key rows, and how many keys lie before its first
/// query (a cache's).
struct SequenceSpan {
  Index first_query = 0, queries = 0;
  Index first_key = 0;
  Index past = 0;
  /// Keys that its last query sees.
  Index keys() const { return past + queries; }
};

/// The sequences of a batch in order, and the position of every row.
struct BatchLayout {
  std::vector<SequenceSpan> sequences;
  std::vector<Index> positions;  ///< of each row, in its sequence
};

/// `rows` sequences of `length` tokens each, one after the other, after `past` tokens.
inline BatchLayout uniform_layout(Index rows, Index length, Index past = 0) {
  BatchLayout layout;
  for (Index row = 0; row < rows; ++row) {
    layout.sequences.push_back({row * length, length, row * length, past});
    for (Index i = 0; i < length; ++i) layout.positions.push_back(past + i);
  }
  return layout;
}

}  // namespace qlora::inline QLORA_ABI
