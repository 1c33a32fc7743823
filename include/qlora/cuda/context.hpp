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
#include <type_traits>

#include "qlora/core/config.hpp"
#include "qlora/core/numeric.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// Threads that run together and may ask each other.
inline constexpr int warp_size = 32;

/// The numbers that kernels read and write in global memory.
template <class T>
concept DeviceNumber =
    std::same_as<T, float> || std::same_as<T, float16> || std::same_as<T, bfloat16>;

/// N numbers that move by one instruction: at most 16 bytes, aligned to their size.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  static_assert(sizeof(T) * N <= 16, "Pack: a load or store moves at most 16 bytes");
  T at[N];
};

/// What a lane holds of a matrix that is multiplied: Words pairs of 16-bit numbers, the first of a
/// pair lower.
template <int Words>
struct Fragment {
  std::uint32_t at[Words];
};

/// - thread, threads, block, blocks: this thread's number in its block, and so on; lane and warp.
///   first and stride walk over all threads of the grid.
/// - barrier: of all threads of the block.
/// - shuffle_xor(value, mask), shuffle(value, lane): another lane's value; all lanes take part.
/// - shared<T, Count, Tag>(): an array that the block shares; another Tag is another array. Its
///   elements by [], N at once by load_shared<N> and store_shared<N>, places in multiples of N.
/// - load, store: one number or Pack in global memory.
/// - copy_async<N>(array, at, from, there): N numbers (4, 8 or 16 bytes) from global to shared
///   memory while the thread goes on, zeros where not `there`; commit_copies ends a group,
///   wait_copies<Left> waits until at most Left groups are on their way. Others may read after the
///   next barrier.
/// - multiply<T>(sum, a, b): sum += a b of 16 x 16 by 16 x 8 numbers of T, float16 or bfloat16, in
///   the fragments of PTX's mma.m16n8k16; all lanes take part.
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
  c.template copy_async<4>(c.template shared<float, 4, 0>(), 0, from, true);
  c.commit_copies();
  c.template wait_copies<0>();
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

namespace detail {

/// The number that a half of a word holds.
template <class T>
QLORA_DEVICE float half_of(std::uint32_t pair, int which) {
  return static_cast<float>(T::from_bits(static_cast<std::uint16_t>(pair >> (16 * which))));
}

/// Context::multiply by lanes that ask each other: for devices whose tensor cores don't know T.
template <class T, class Context>
QLORA_DEVICE void multiply_by_shuffles(Context& thread, float (&sum)[4], const Fragment<4>& a,
                                       const Fragment<2>& b) {
  const int group = thread.lane() / 4, member = thread.lane() % 4;
  QLORA_UNROLL_BY(1)
  for (int from = 0; from < 4; ++from) {
    // Lane `from` of a row's four, and of each column's, has the products k = 2 from, + 1, + 8,
    // + 9.
    Fragment<4> row;
    QLORA_UNROLL
    for (int i = 0; i < 4; ++i) row.at[i] = thread.shuffle(a.at[i], 4 * group + from);
    QLORA_UNROLL
    for (int col = 0; col < 2; ++col) {
      QLORA_UNROLL
      for (int half = 0; half < 2; ++half) {
        const auto right = thread.shuffle(b.at[half], 4 * (2 * member + col) + from);
        QLORA_UNROLL
        for (int i = 0; i < 2; ++i) {
          QLORA_UNROLL
          for (int low = 0; low < 2; ++low)
            sum[2 * low + col] += half_of<T>(row.at[2 * half + low], i) * half_of<T>(right, i);
        }
      }
    }
  }
}

}  // namespace detail

#if defined(__CUDACC__)

/// The hardware: each member is what ExecutionContext says of it.
struct DeviceContext : ThreadPlace<DeviceContext> {
  /// This thread's number in its block.
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  /// Threads of a block.
  __device__ int threads() const { return static_cast<int>(blockDim.x); }
  /// This block's number.
  __device__ Index block() const { return static_cast<Index>(blockIdx.x); }
  /// Blocks of the grid.
  __device__ Index blocks() const { return static_cast<Index>(gridDim.x); }
  /// Waits for all threads of the block.
  __device__ void barrier() const { __syncthreads(); }
  /// The value of the lane whose number differs by `mask`.
  template <class T>
  __device__ T shuffle_xor(T value, int mask) const {
    return __shfl_xor_sync(0xffffffffu, value, mask);
  }
  /// The value of a lane.
  template <class T>
  __device__ T shuffle(T value, int lane) const {
    return __shfl_sync(0xffffffffu, value, lane);
  }
  /// An array of the block's; another Tag is another array.
  template <class T, int Count, int Tag = 0>
  __device__ T* shared() const {
    alignas(16) __shared__ T array[Count];
    return array;
  }
  /// A number or a Pack of global memory.
  template <class T>
  __device__ T load(const T* from) const {
    if constexpr (sizeof(T) == 16) {
      return __builtin_bit_cast(T, *reinterpret_cast<const uint4*>(from));
    } else if constexpr (sizeof(T) == 8) {
      return __builtin_bit_cast(T, *reinterpret_cast<const uint2*>(from));
    } else {
      return *from;
    }
  }
  /// Writes a number or a Pack to global memory.
  template <class T>
  __device__ void store(T* to, const T& value) const {
    if constexpr (sizeof(T) == 16) {
      *reinterpret_cast<uint4*>(to) = __builtin_bit_cast(uint4, value);
    } else if constexpr (sizeof(T) == 8) {
      *reinterpret_cast<uint2*>(to) = __builtin_bit_cast(uint2, value);
    } else {
      *to = value;
    }
  }
  /// N numbers of shared memory at once; `at` is a multiple of N.
  template <int N, class T>
  __device__ Pack<T, N> load_shared(const T* array, int at) const {
    using Word = WordOf<sizeof(T) * N>;
    using Value = Pack<T, N>;
    return __builtin_bit_cast(Value, *reinterpret_cast<const Word*>(array + at));
  }
  /// Writes N numbers to shared memory at once; `at` is a multiple of N.
  template <int N, class T>
  __device__ void store_shared(T* array, int at, const Pack<T, N>& value) const {
    using Word = WordOf<sizeof(T) * N>;
    *reinterpret_cast<Word*>(array + at) = __builtin_bit_cast(Word, value);
  }
  /// Brings N numbers into shared memory while the thread goes on, zeros where not `there`.
  template <int N, class T>
  __device__ void copy_async(T* array, int at, const T* from, bool there) const {
    constexpr int bytes = sizeof(T) * N;
    static_assert(bytes == 4 || bytes == 8 || bytes == 16);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    const auto to = static_cast<unsigned>(__cvta_generic_to_shared(array + at));
    const int size = there ? bytes : 0;
    if constexpr (bytes == 16) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(size)
                   : "memory");
    } else {
      asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(bytes),
                   "r"(size)
                   : "memory");
    }
#else
    using Word = WordOf<bytes>;
    *reinterpret_cast<Word*>(array + at) = there ? *reinterpret_cast<const Word*>(from) : Word{};
#endif
  }
  /// Ends a group of copies.
  __device__ void commit_copies() const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
  }
  /// Waits until at most Left groups are on their way.
  template <int Left>
  __device__ void wait_copies() const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
#endif
  }
  /// sum += a b by the tensor cores, or by shuffles where they do not know T.
  template <class T>
  __device__ void multiply(float (&sum)[4], const Fragment<4>& a, const Fragment<2>& b) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    if constexpr (std::is_same_v<T, bfloat16>) {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
          : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]), "r"(b.at[0]), "r"(b.at[1]));
    } else {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
          : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]), "r"(b.at[0]), "r"(b.at[1]));
    }
#else
    if constexpr (std::is_same_v<T, bfloat16>) {
      detail::multiply_by_shuffles<T>(*this, sum, a, b);
    } else {
      QLORA_UNROLL
      for (int half = 0; half < 2; ++half)
        asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
            "{%0, %1, %2, %3};"
            : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
            : "r"(a.at[2 * half]), "r"(a.at[2 * half + 1]), "r"(b.at[half]));
    }
#endif
  }

 private:
  template <int Bytes>
  using WordOf = std::conditional_t<
      Bytes == 16, uint4,
      std::conditional_t<Bytes == 8, uint2,
                         std::conditional_t<Bytes == 4, std::uint32_t, std::uint16_t>>>;
};

#endif

}  // namespace qlora::inline QLORA_ABI::cuda
