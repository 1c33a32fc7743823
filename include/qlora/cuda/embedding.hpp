/// Rows of a packed table, picked by token id.
#pragma once

#include <cstdint>

#include "qlora/core/config.hpp"
#include "qlora/cuda/kernel.hpp"
#include "qlora/quant/quantized_view.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// out[i] = table[ids[i]]: [tokens, table.cols()]. The host has checked the ids.
template <class F>
struct EmbeddingForward {
  static_assert(Format<F>, "EmbeddingForward: the argument must be a BlockFormat");
  static constexpr int threads = 256;
  static constexpr const char* name = "embedding_forward";
  QuantizedView<F> table;
  const std::int32_t* ids;
  float* out;
  Index tokens;

  /// Blocks of threads in a launch.
  Index blocks() const { return blocks_for(tokens * table.cols(), threads); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    for (Index i = thread.first(); i < tokens * table.cols(); i += thread.stride())
      thread.store(out + i, table(thread.load(ids + i / table.cols()), i % table.cols()));
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
