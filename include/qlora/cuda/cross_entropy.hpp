/// Next-token cross-entropy of rows of logits, a block a row; the gradient takes the logits' place.
#pragma once

#include <cmath>
#include <cstdint>

#include "qlora/cuda/gemv.hpp"

namespace qlora::cuda {

namespace detail {

/// Combines every thread's value over the block, in each thread. The order is always the same.
template <int Threads, int Tag, class Context, class Combine>
QLORA_DEVICE float over_block(Context& thread, float value, Combine combine) {
  auto parts = thread.template shared<float, Threads / warp_size, Tag>();
  QLORA_UNROLL
  for (int mask = warp_size / 2; mask > 0; mask /= 2)
    value = combine(value, thread.shuffle_xor(value, mask));
  if (thread.lane() == 0) parts[thread.warp()] = value;
  thread.barrier();
  value = parts[0];
  for (int i = 1; i < Threads / warp_size; ++i) value = combine(value, parts[i]);
  thread.barrier();
  return value;
}

}  // namespace detail

/// logits: [rows, vocabulary]; targets: an id a row, negative where it does not count; losses: in
/// nats, 0 where it does not count. With `backward`, logits become scale (softmax - one-hot), or 0.
struct CrossEntropyRows {
  static constexpr int threads = 256;
  static constexpr const char* name = "cross_entropy";
  float* logits;
  const std::int32_t* targets;
  float* losses;
  Index rows, vocabulary;
  float scale = 1;
  bool backward = false;

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
    for (Index i = thread.thread(); i < vocabulary; i += threads) {
      const float logit = thread.load(row + i);
      largest = logit > largest || logit != logit ? logit : largest;
    }
    largest = detail::over_block<threads, 0>(
        thread, largest, [](float a, float b) { return a > b || a != a ? a : b; });
    float total = 0;
    for (Index i = thread.thread(); i < vocabulary; i += threads)
      total += std::exp(thread.load(row + i) - largest);
    total = detail::over_block<threads, 1>(thread, total, [](float a, float b) { return a + b; });
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

}  // namespace qlora::cuda
