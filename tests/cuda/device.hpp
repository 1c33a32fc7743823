// Kernels on the executor, and what their products are compared with.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#if defined(__CUDACC__)
#include "gpu/registered_heap.hpp"
#include "qlora/cuda/cuda_runtime.hpp"
#else
#include "cuda/executor.hpp"
#endif
#include "qlora/cuda/kernel.hpp"
#include "qlora/cuda/tiles.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

namespace test {

#if defined(__CUDACC__)
// On a device, which reads and writes the host's memory where it lies; tests/gpu/main.cu sees to
// it that it can read the heap.
template <qlora::cuda::Kernel K, class... Memory>
void run_kernel(const K& kernel, Memory... memory) {
  if (kernel.blocks() == 0) return;
  INFO(K::name << ": memory given to the device must lie on the heap that is registered");
  const bool readable =
      (RegisteredHeap::instance().holds(memory.data(), memory.size_bytes()) && ...);
  REQUIRE(readable);
  qlora::cuda::CudaRuntime runtime;
  REQUIRE(runtime.launch(kernel) == 0);
  REQUIRE(runtime.synchronize() == 0);
}
#else
// Runs a kernel with as many threads and blocks as it asks for; it may touch `memory` (spans) only.
template <qlora::cuda::Kernel K, class... Memory>
void run_kernel(const K& kernel, Memory... memory) {
  if (kernel.blocks() == 0) return;
  Executor device(K::threads, kernel.blocks());
  (device.give(memory), ...);
  device.run([&](auto& thread) { kernel(thread); });
}
#endif

// Numbers at an offset from the allocator's alignment, the rest NaN where T has one.
template <class T>
struct Placed {
  Placed(std::size_t count, std::size_t offset) : numbers(count + offset), offset_(offset) {}
  T* data() { return numbers.data() + offset_; }
  std::span<T> span() { return std::span<T>(numbers).subspan(offset_); }
  std::span<const T> span() const { return std::span<const T>(numbers).subspan(offset_); }
  std::vector<T> numbers;

 private:
  std::size_t offset_;
};

template <class T>
Placed<T> placed(const qlora::RowMatrix<float>& from, std::size_t offset = 0) {
  Placed<T> to(static_cast<std::size_t>(from.size()), offset);
  for (Index i = 0; i < from.size(); ++i) to.data()[i] = static_cast<T>(from.data()[i]);
  return to;
}

// The numbers of a matrix, as memory that a kernel may read, or write.
inline std::span<const float> numbers(const qlora::RowMatrix<float>& m) {
  return {m.data(), static_cast<std::size_t>(m.size())};
}
inline std::span<float> writable(qlora::RowMatrix<float>& m) {
  return {m.data(), static_cast<std::size_t>(m.size())};
}
template <class T>
std::span<const T> readable(const std::vector<T>& v) {
  return v;
}

// Whether two matrices are the same but for float's rounding, in parts of their largest number.
inline void require_close(const qlora::RowMatrix<float>& expected,
                          const qlora::RowMatrix<float>& found, float tolerance = 1e-5f) {
  REQUIRE(expected.rows() == found.rows());
  REQUIRE(expected.cols() == found.cols());
  if (expected.size() == 0) return;
  const float largest = std::max(expected.cwiseAbs().maxCoeff(), 1e-3f);
  REQUIRE((expected - found).cwiseAbs().maxCoeff() <= tolerance * largest);
}

// A packed matrix whose codes lie at an offset.
template <class F>
struct PlacedMatrix {
  explicit PlacedMatrix(const qlora::QuantizedMatrix<F>& from, std::size_t offset)
      : codes(from.codes().size(), offset) {
    std::copy(from.codes().begin(), from.codes().end(), codes.data());
    const auto v = from.view();
    view = {codes.data(), v.scale(), v.rows(), v.cols(), v.block_size(), v.codebook()};
  }
  Placed<std::uint8_t> codes;
  qlora::QuantizedView<F> view;
};

// One number of a product with its tolerance: sums of `count` terms in float, in any order, then
// rounded to Y.
struct Expected {
  double value = 0, magnitude = 0;
  void add(double a, double b) {
    value += a * b;
    magnitude += std::abs(a * b);
  }
  template <class Y>
  void require_near(Y found, Index count) const {
    const double rounding = std::is_same_v<Y, float>             ? 0
                            : std::is_same_v<Y, qlora::bfloat16> ? 0x1p-8
                                                                 : 0x1p-11;
    const double bound = 4 * 0x1p-23 * std::sqrt(static_cast<double>(count) + 1) * magnitude +
                         rounding * std::abs(value) + 1e-30;
    INFO("expected " << value << ", found " << static_cast<float>(found) << ", bound " << bound);
    REQUIRE(std::abs(static_cast<double>(static_cast<float>(found)) - value) <= bound);
  }
};

// As the kernels multiply: in 16 bits where x is float.
template <class X>
double factor(float value) {
  return static_cast<double>(static_cast<float>(qlora::cuda::Factor<X>(value)));
}

}  // namespace test
