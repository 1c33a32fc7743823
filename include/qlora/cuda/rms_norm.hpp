/// Root-mean-square normalization, a warp a row; the formulas of nn/rms_norm.hpp.
#pragma once

#include <cmath>

#include "qlora/core/config.hpp"
#include "qlora/cuda/kernel.hpp"
#include "qlora/cuda/reduce.hpp"

namespace qlora::inline QLORA_ABI::cuda {

namespace detail {

/// 1 / sqrt(mean(x²) + epsilon) of a row, in every lane.
template <class Context>
QLORA_DEVICE float reciprocal_rms(Context& thread, const float* x, Index cols, float epsilon) {
  float sum = 0;
  for (Index i = thread.lane(); i < cols; i += warp_size) {
    const float value = thread.load(x + i);
    sum += value * value;
  }
  return 1.f / std::sqrt(warp_sum(thread, sum) / static_cast<float>(cols) + epsilon);
}

}  // namespace detail

/// y = w x / rms(x). x, y: [rows, cols]; weight: [cols].
struct RmsNormForward {
  static constexpr int threads = 128;
  static constexpr const char* name = "rms_norm_forward";
  const float* x;
  const float* weight;
  float* y;
  Index rows, cols;
  float epsilon;

  /// Blocks of threads in a launch.
  Index blocks() const { return blocks_for(rows, threads / warp_size); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    for (Index row = thread.first_warp(); row < rows; row += thread.warp_stride()) {
      const Index at = row * cols;
      const float r = detail::reciprocal_rms(thread, x + at, cols, epsilon);
      for (Index i = thread.lane(); i < cols; i += warp_size)
        thread.store(y + at + i, thread.load(x + at + i) * r * thread.load(weight + i));
    }
  }
};

/// dx += the gradient; with r = 1 / rms and g = w dy: r g - x r³ mean(g x).
struct RmsNormBackward {
  static constexpr int threads = 128;
  static constexpr const char* name = "rms_norm_backward";
  const float* x;
  const float* weight;
  const float* dy;
  float* dx;
  Index rows, cols;
  float epsilon;

  /// Blocks of threads in a launch.
  Index blocks() const { return blocks_for(rows, threads / warp_size); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    for (Index row = thread.first_warp(); row < rows; row += thread.warp_stride()) {
      const Index at = row * cols;
      const float r = detail::reciprocal_rms(thread, x + at, cols, epsilon);
      float sum = 0;
      for (Index i = thread.lane(); i < cols; i += warp_size)
        sum += thread.load(weight + i) * thread.load(dy + at + i) * thread.load(x + at + i);
      const float mean = detail::warp_sum(thread, sum) / static_cast<float>(cols);
      for (Index i = thread.lane(); i < cols; i += warp_size)
        thread.store(dx + at + i, thread.load(dx + at + i) +
                                      r * thread.load(weight + i) * thread.load(dy + at + i) -
                                      r * r * r * mean * thread.load(x + at + i));
    }
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
