// What this machine can do, measured once: multiply-adds a second and bytes a second.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

#include "qlora/core/parallel.hpp"
#include "qlora/linalg/micro_kernel.hpp"

namespace bench {

// The least seconds of several runs.
template <class Body>
double least_seconds(int runs, Body&& body) {
  double least = 1e30;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    least = std::min(least, spent.count());
  }
  return least;
}

// Floating-point operations a second of all threads, operands in registers and first-level cache.
inline double peak_flops() {
  static const double peak = [] {
#if QLORA_HAS_VECTORS
    using qlora::linalg_detail::Float32;
    constexpr qlora::Index depth = 128, rounds = 4000;
    const int threads = qlora::thread_count();
    const double seconds = least_seconds(5, [&] {
      qlora::parallel_for(threads, [&](qlora::Index) {
        alignas(64) static thread_local float a[Float32::tile_rows * depth],
            b[depth * Float32::tile_width], c[Float32::tile_rows * Float32::tile_width];
        for (qlora::Index i = 0; i < rounds; ++i)
          Float32::strip(false, Float32::tile_rows, Float32::tile_width, a, depth, b, depth, c,
                         Float32::tile_width);
      });
    });
    return 2.0 * depth * rounds * Float32::tile_rows * static_cast<double>(Float32::tile_width) *
           threads / seconds;
#else
    return 0.0;
#endif
  }();
  return peak;
}

// Bytes a second that all threads read from memory, not from caches.
inline double memory_bandwidth() {
  static const double bandwidth = [] {
    const std::vector<float> large(std::size_t{1} << 26, 1.f);  // 256 MiB
    double sum = 0;
    const double seconds = least_seconds(3, [&] {
      std::vector<double> parts(64, 0);
      qlora::parallel_for(64, [&](qlora::Index part) {
        const std::size_t size = large.size() / 64;
        const float* from = large.data() + static_cast<std::size_t>(part) * size;
        float lanes[32] = {};
        for (std::size_t i = 0; i < size; i += 32)
          for (std::size_t k = 0; k < 32; ++k) lanes[k] += from[i + k];
        for (const float lane : lanes)
          parts[static_cast<std::size_t>(part)] += static_cast<double>(lane);
      });
      for (const double part : parts) sum += part;
    });
    return sum > 0 ? static_cast<double>(large.size() * sizeof(float)) / seconds : 0.0;
  }();
  return bandwidth;
}

}  // namespace bench
