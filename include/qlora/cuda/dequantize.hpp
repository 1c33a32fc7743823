/// Packed weights to numbers, on the device: the bits of qlora::dequantize.
///
///     template <class Format, class T>
///     __global__ void kernel(qlora::QuantizedView<Format> w, T* out) {
///       qlora::cuda::DeviceContext thread;
///       qlora::cuda::dequantize(thread, w, out);
///     }
#pragma once

#include <cstdint>

#include "qlora/core/config.hpp"
#include "qlora/cuda/kernel.hpp"
#include "qlora/cuda/packed_reads.hpp"

namespace qlora::inline QLORA_ABI::cuda {

namespace detail {

/// Eight numbers to a place that is aligned to 16 bytes.
template <class T, class Context>
QLORA_DEVICE void store_group(Context& thread, T* to, const float (&values)[group_size]) {
  if constexpr (std::is_same_v<T, float>) {
    QLORA_UNROLL
    for (int i = 0; i < group_size; i += 4)
      thread.store(reinterpret_cast<Pack<float, 4>*>(to + i),
                   Pack<float, 4>{values[i], values[i + 1], values[i + 2], values[i + 3]});
  } else {
    Pack<std::uint32_t, 4> pack;
    QLORA_UNROLL
    for (int i = 0; i < 4; ++i) pack.at[i] = pair_of<T>(values[2 * i], values[2 * i + 1]);
    thread.store(reinterpret_cast<Pack<std::uint32_t, 4>*>(to), pack);
  }
}

}  // namespace detail

/// out: [rows, cols] of float, float16 or bfloat16, row-major; every weight is rounded to T from
/// the float that the CPU decodes. Any number of blocks and threads. Values of all rows alike are
/// looked up in shared memory, 16 of them without conflicts.
template <class F, class T, class Context>
QLORA_DEVICE void dequantize(Context& thread, const QuantizedView<F>& w, T* out) {
  static_assert(ExecutionContext<Context>,
                "dequantize: the first argument must be an ExecutionContext, such as "
                "DeviceContext");
  if constexpr (!has_one_table<F>) {
    for (Index i = thread.first(); i < w.size(); i += thread.stride())
      thread.store(out + i, static_cast<T>(w(i / w.cols(), i % w.cols())));
  } else {
    constexpr int bits = F::code_bits;
    const ValueTable<F, Context> values(thread, w);
    // Groups that share a scale, at places where they can be moved at once; the rest one by one.
    const bool whole = w.block_size() % group_size == 0 &&
                       is_aligned(w.codes(), bits == 8 ? 8 : 4) && is_aligned(out, 16);
    const Index groups = whole ? w.size() / group_size : 0;
    for (Index g = thread.first(); g < groups; g += thread.stride()) {
      const auto word = load_group<bits>(thread, w.codes(), g, true);
      const auto scale = w.scale()(g * group_size / w.block_size());
      float weight[group_size];
      QLORA_UNROLL
      for (int i = 0; i < group_size; ++i) weight[i] = scaled(values(word, i), scale);
      detail::store_group(thread, out + g * group_size, weight);
    }
    for (Index i = groups * group_size + thread.first(); i < w.size(); i += thread.stride())
      thread.store(out + i, static_cast<T>(w(0, i)));
  }
}

/// The same as a Kernel.
template <class F, class T>
struct Dequantize {
  static_assert(Format<F>, "Dequantize: the first argument must be a BlockFormat");
  static_assert(DeviceNumber<T>, "Dequantize: what it writes must be float, float16 or bfloat16");
  static constexpr int threads = 256;
  static constexpr const char* name = "dequantize";
  QuantizedView<F> w;
  T* out;

  /// Blocks of threads in a launch.
  Index blocks() const { return blocks_for(w.size(), threads, group_size); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    dequantize(thread, w, out);
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
