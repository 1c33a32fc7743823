/// Sums and maxima over a warp and over a block of threads, in every thread and always in the same
/// order.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/cuda/context.hpp"

namespace qlora::inline QLORA_ABI::cuda::detail {

/// The larger; NaN if one is NaN.
QLORA_DEVICE inline float larger(float a, float b) { return a > b || a != a ? a : b; }

template <class Context, class Combine>
QLORA_DEVICE float over_warp(Context& thread, float value, Combine combine) {
  QLORA_UNROLL
  for (int mask = warp_size / 2; mask > 0; mask /= 2)
    value = combine(value, thread.shuffle_xor(value, mask));
  return value;
}
template <class Context>
QLORA_DEVICE float warp_sum(Context& thread, float value) {
  return over_warp(thread, value, [](float a, float b) { return a + b; });
}
template <class Context>
QLORA_DEVICE float warp_maximum(Context& thread, float value) {
  return over_warp(thread, value, [](float a, float b) { return larger(a, b); });
}

/// Of `Threads` threads; another Tag is other shared memory.
template <int Threads, int Tag, class Context, class Combine>
QLORA_DEVICE float over_block(Context& thread, float value, Combine combine) {
  auto parts = thread.template shared<float, Threads / warp_size, Tag>();
  value = over_warp(thread, value, combine);
  if (thread.lane() == 0) parts[thread.warp()] = value;
  thread.barrier();
  value = parts[0];
  for (int i = 1; i < Threads / warp_size; ++i) value = combine(value, parts[i]);
  thread.barrier();
  return value;
}
template <int Threads, int Tag, class Context>
QLORA_DEVICE float block_sum(Context& thread, float value) {
  return over_block<Threads, Tag>(thread, value, [](float a, float b) { return a + b; });
}
template <int Threads, int Tag, class Context>
QLORA_DEVICE float block_maximum(Context& thread, float value) {
  return over_block<Threads, Tag>(thread, value, [](float a, float b) { return larger(a, b); });
}

}  // namespace qlora::inline QLORA_ABI::cuda::detail
