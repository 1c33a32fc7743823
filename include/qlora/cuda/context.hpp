/// Where a kernel's body runs. A kernel is a function template over an execution context, so that
/// one source serves the device and an executor on the host that checks what hardware does not say
/// (tests/cuda/executor.hpp).
///
///     template <class Context>
///     QLORA_DEVICE void twice(Context& thread, const float* x, float* y, qlora::Index count) {
///       for (auto i = thread.first(); i < count; i += thread.stride())
///         thread.store(y + i, 2 * thread.load(x + i));
///     }
///
/// Grids and blocks have one dimension; a warp has 32 threads.
#pragma once

#include <concepts>
#include <cstdint>

#include "qlora/core/config.hpp"

namespace qlora::cuda {

inline constexpr int warp_size = 32;

/// N numbers that move by one instruction: at most 16 bytes, aligned to their size.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  static_assert(sizeof(T) * N <= 16, "Pack: a load or store moves at most 16 bytes");
  T at[N];
};

/// - thread, threads, block, blocks: this thread's number in its block, and so on; lane and warp.
///   first and stride walk over all threads of the grid.
/// - barrier: of all threads of the block.
/// - shuffle_xor(value, mask), shuffle(value, lane): another lane's value; all lanes take part.
/// - shared<T, Count, Tag>(): an array that the block shares; another Tag is another array.
/// - load, store: one number or Pack in global memory.
template <class C>
concept ExecutionContext = requires(C& c, float value, const float* from, float* to) {
  { c.thread() } -> std::convertible_to<int>;
  { c.threads() } -> std::convertible_to<int>;
  { c.block() } -> std::convertible_to<Index>;
  { c.blocks() } -> std::convertible_to<Index>;
  c.barrier();
  { c.shuffle_xor(value, 1) } -> std::same_as<float>;
  { c.shuffle(value, 0) } -> std::same_as<float>;
  c.template shared<float, 4, 0>();
  { c.load(from) } -> std::same_as<float>;
  c.store(to, value);
};

/// What follows from a thread's and its block's numbers.
template <class Context>
struct ThreadPlace {
  QLORA_DEVICE int lane() const { return self().thread() % warp_size; }
  QLORA_DEVICE int warp() const { return self().thread() / warp_size; }
  QLORA_DEVICE int warps() const { return self().threads() / warp_size; }
  QLORA_DEVICE Index first() const { return self().block() * self().threads() + self().thread(); }
  QLORA_DEVICE Index stride() const { return self().blocks() * self().threads(); }
  QLORA_DEVICE Index first_warp() const { return self().block() * warps() + warp(); }
  QLORA_DEVICE Index warp_stride() const { return self().blocks() * warps(); }

 private:
  QLORA_DEVICE const Context& self() const { return static_cast<const Context&>(*this); }
};

#if defined(__CUDACC__)

/// The hardware.
struct DeviceContext : ThreadPlace<DeviceContext> {
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int threads() const { return static_cast<int>(blockDim.x); }
  __device__ Index block() const { return static_cast<Index>(blockIdx.x); }
  __device__ Index blocks() const { return static_cast<Index>(gridDim.x); }
  __device__ void barrier() const { __syncthreads(); }
  template <class T>
  __device__ T shuffle_xor(T value, int mask) const {
    return __shfl_xor_sync(0xffffffffu, value, mask);
  }
  template <class T>
  __device__ T shuffle(T value, int lane) const {
    return __shfl_sync(0xffffffffu, value, lane);
  }
  template <class T, int Count, int Tag = 0>
  __device__ T* shared() const {
    __shared__ T array[Count];
    return array;
  }
  template <class T>
  __device__ T load(const T* from) const {
    if constexpr (sizeof(T) == 16) {
      return __builtin_bit_cast(T, *reinterpret_cast<const uint4*>(from));
    } else {
      return *from;
    }
  }
  template <class T>
  __device__ void store(T* to, const T& value) const {
    if constexpr (sizeof(T) == 16) {
      *reinterpret_cast<uint4*>(to) = __builtin_bit_cast(uint4, value);
    } else {
      *to = value;
    }
  }
};

#endif

}  // namespace qlora::cuda
