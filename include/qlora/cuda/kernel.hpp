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

#include "qlora/core/config.hpp"
#include "qlora/cuda/context.hpp"

namespace qlora::inline QLORA_ABI::cuda {

namespace detail {

/// A context that is never run: what a kernel's body must take to be one.
struct ContextArchetype : ThreadPlace<ContextArchetype> {
  QLORA_DEVICE int thread() const;
  QLORA_DEVICE int threads() const;
  QLORA_DEVICE Index block() const;
  QLORA_DEVICE Index blocks() const;
  QLORA_DEVICE void barrier() const;
  template <class T>
  QLORA_DEVICE T shuffle_xor(T value, int mask) const;
  template <class T>
  QLORA_DEVICE T shuffle(T value, int lane) const;
  template <class T, int Count, int Tag = 0>
  QLORA_DEVICE T* shared() const;
  template <class T>
  QLORA_DEVICE T load(const T* from) const;
  template <class T>
  QLORA_DEVICE void store(T* to, const T& value) const;
  template <int N, class T>
  QLORA_DEVICE void copy_async(T* array, int at, const T* from, bool there) const;
  QLORA_DEVICE void commit_copies() const;
  template <int Left>
  QLORA_DEVICE void wait_copies() const;
};
static_assert(ExecutionContext<ContextArchetype>);

}  // namespace detail

/// Arguments that can be handed to a device byte by byte.
template <class K>
concept KernelArguments = std::is_trivially_copyable_v<K>;
/// A launch: threads in a block, a name for messages, and the number of blocks.
template <class K>
concept KernelLaunch = requires(const K& kernel) {
  { K::threads } -> std::convertible_to<int>;
  { K::name } -> std::convertible_to<const char*>;
  { kernel.blocks() } -> std::convertible_to<Index>;
};
/// A body: a const call with any ExecutionContext.
template <class K>
concept KernelBody = requires(const K& kernel, detail::ContextArchetype& thread) {
  kernel(thread);
};
/// What can be launched.
template <class K>
concept Kernel = KernelArguments<K> && KernelLaunch<K> && KernelBody<K>;

/// Ends the compilation with the condition that K does not meet, unless K is a Kernel; then true.
template <class K>
constexpr bool check_kernel() {
  static_assert(KernelArguments<K>,
                "a kernel must be trivially copyable: pointers and sizes, no owners of memory");
  static_assert(KernelLaunch<K>,
                "a kernel must say its launch: static constexpr int threads, static constexpr "
                "const char* name, and Index blocks() const");
  static_assert(KernelBody<K>,
                "a kernel must have a body: template <class Context> QLORA_DEVICE void "
                "operator()(Context& thread) const");
  return true;
}

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

}  // namespace qlora::inline QLORA_ABI::cuda
