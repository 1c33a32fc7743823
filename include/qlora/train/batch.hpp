/// Makes one input of a model from several examples, which lie one after the other without padding.
///
///     const std::vector<qlora::Index> first_two{0, 1};
///     const qlora::Batch batch = qlora::make_batch(data.examples, first_two);
///     model.loss(batch.ids, batch.targets, batch.layout);
#pragma once

#include <span>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/token.hpp"
#include "qlora/nn/batch_layout.hpp"
#include "qlora/text/encoded_text.hpp"

namespace qlora::inline QLORA_ABI {

/// Several examples as one model input. A plain value, which several threads may read together.
struct Batch {
  std::vector<Token> ids, targets;  ///< per row: its token, and the next one or `ignored`
  BatchLayout layout;
  Index counted = 0;  ///< rows with a target
};

/// Puts the examples with the indices `chosen` one after the other. The target of a token is the
/// next one of the same example, if that counts. Throws ShapeError for an index outside of
/// `examples` and for an example that does not mark each of its tokens. Safe to call from several
/// threads.
inline Batch make_batch(const std::vector<EncodedText>& examples, std::span<const Index> chosen) {
  Batch batch;
  for (const Index index : chosen) {
    require<ShapeError>(index >= 0 && index < static_cast<Index>(examples.size()),
                        "make_batch: expected a place below ", examples.size(), ", found ", index);
    const EncodedText& example = examples[static_cast<std::size_t>(index)];
    require<ShapeError>(example.counted.size() == example.ids.size(), "make_batch: example ", index,
                        ": expected a mark for each of its ", example.ids.size(), " tokens, found ",
                        example.counted.size());
    const auto first = static_cast<Index>(batch.ids.size());
    const auto length = static_cast<Index>(example.ids.size());
    batch.layout.sequences.push_back({first, length, first, 0});
    for (std::size_t t = 0; t < example.ids.size(); ++t) {
      const bool counts = t + 1 < example.ids.size() && example.counted[t + 1] != 0;
      batch.ids.push_back(example.ids[t]);
      batch.targets.push_back(counts ? example.ids[t + 1] : ignored);
      batch.layout.positions.push_back(static_cast<Index>(t));
      batch.counted += counts ? 1 : 0;
    }
  }
  return batch;
}

}  // namespace qlora::inline QLORA_ABI
