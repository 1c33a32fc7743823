/// Next-token cross-entropy of rows of logits, a block a row; the gradient takes the logits' place.
#pragma once

#include <cmath>
#include <cstdint>

#include "qlora/core/config.hpp"
#include "qlora/cuda/kernel.hpp"
#include "qlora/cuda/reduce.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// logits: [rows, vocabulary]; targets: an id a row, negative where it does not count; losses: in
/// nats, 0 where it does not count. With `backward`, logits become scale (softmax - one-hot), or 0.
struct CrossEntropyRows {
  static constexpr int threads = 256;
  static constexpr const char* name = "cross_entropy";
  enum SharedArray { largest_array, total_array };  // tags of what the warps bring together
  float* logits;
  const std::int32_t* targets;
  float* losses;
  Index rows, vocabulary;
  float scale = 1;
  bool backward = false;

  /// Blocks of threads in a launch.
  Index blocks() const { return rows; }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    float* row = logits + thread.block() * vocabulary;
    const std::int32_t target = thread.load(targets + thread.block());
    if (target < 0) {
      for (Index i = thread.thread(); backward && i < vocabulary; i += threads)
        thread.store(row + i, 0.f);
      if (thread.thread() == 0) thread.store(losses + thread.block(), 0.f);
      return;
    }
    float largest = -INFINITY;
    for (Index i = thread.thread(); i < vocabulary; i += threads)
      largest = detail::larger(thread.load(row + i), largest);
    largest = detail::block_maximum<threads, largest_array>(thread, largest);
    float total = 0;
    for (Index i = thread.thread(); i < vocabulary; i += threads)
      total += std::exp(thread.load(row + i) - largest);
    total = detail::block_sum<threads, total_array>(thread, total);
    const float target_logit = thread.load(row + target);
    thread.barrier();  // before anyone writes over it
    if (thread.thread() == 0)
      thread.store(losses + thread.block(), std::log(total) + largest - target_logit);
    for (Index i = thread.thread(); backward && i < vocabulary; i += threads) {
      const float p = std::exp(thread.load(row + i) - largest) / total;
      thread.store(row + i, scale * (p - (i == target ? 1.f : 0.f)));
    }
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
