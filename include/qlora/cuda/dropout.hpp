/// Dropout on the device by the CPU's mask (core/dropout.hpp), so that both drop the same.
///
///     ApplyDropout kernel{x, out, rows, cols, Dropout(0.05f, key)};
#pragma once

#include <cstdint>

#include "qlora/core/config.hpp"
#include "qlora/core/dropout.hpp"
#include "qlora/cuda/kernel.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// The mask of float activations.
using Dropout = DropoutMask<float>;

/// out = dropout(x); x, out: [rows, cols]. A thread takes four columns, which share a random block.
struct ApplyDropout {
  static constexpr int threads = 256;
  static constexpr const char* name = "apply_dropout";
  const float* x;
  float* out;
  Index rows, cols;
  Dropout dropout;

  /// Blocks of threads in a launch.
  Index blocks() const { return blocks_for(rows * blocks_of_row(), threads); }

  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    for (Index i = thread.first(); i < rows * blocks_of_row(); i += thread.stride()) {
      const Index row = i / blocks_of_row(), col = i % blocks_of_row() * Dropout::together;
      PhiloxBlock random{};
      if (dropout.acts()) random = dropout.words(dropout.stream(row), col / Dropout::together);
      QLORA_UNROLL
      for (int k = 0; k < Dropout::together && col + k < cols; ++k) {
        const Index at = row * cols + col + k;
        thread.store(out + at, dropout.apply(thread.load(x + at), random.word[k]));
      }
    }
  }

 private:
  QLORA_HD Index blocks_of_row() const {
    return (cols + Dropout::together - 1) / Dropout::together;
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
