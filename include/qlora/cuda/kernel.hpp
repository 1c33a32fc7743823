/// A kernel is a struct of its arguments that knows its launch: a user of several launches one
/// after the other on any runtime, the device's or the tests'.
///
///     template <class T>
///     struct Twice {
///       static constexpr int threads = 128;          // a block
///       static constexpr const char* name = "twice";
///       const T* x;
///       T* y;
///       qlora::Index count;
///
///       qlora::Index blocks() const { return qlora::cuda::blocks_for(count, threads); }
///       template <class Context>
///       QLORA_DEVICE void operator()(Context& thread) const {
///         for (auto i = thread.first(); i < count; i += thread.stride())
///           thread.store(y + i, 2 * thread.load(x + i));
///       }
///     };
#pragma once

#include <concepts>
#include <type_traits>

#include "qlora/cuda/context.hpp"

namespace qlora::cuda {

template <class K>
concept Kernel = std::is_trivially_copyable_v<K> && requires(const K& kernel) {
  { K::threads } -> std::convertible_to<int>;
  { K::name } -> std::convertible_to<const char*>;
  { kernel.blocks() } -> std::convertible_to<Index>;
};

/// Blocks that give each of `count` things a thread, or `each` things one.
constexpr Index blocks_for(Index count, Index threads, Index each = 1) {
  return (count + threads * each - 1) / (threads * each);
}

#if defined(__CUDACC__)

/// Runs any Kernel: run<<<kernel.blocks(), K::threads, 0, stream>>>(kernel).
template <Kernel K>
__global__ void __launch_bounds__(K::threads, 1) run(const __grid_constant__ K kernel) {
  DeviceContext thread;
  kernel(thread);
}

#endif

}  // namespace qlora::cuda
