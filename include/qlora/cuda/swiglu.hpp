/// The gated activation silu(gate) up and its gradients, element by element (nn/swiglu.hpp).
#pragma once

#include <cmath>

#include "qlora/core/config.hpp"
#include "qlora/cuda/kernel.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// out = silu(gate) up.
struct SwigluForward {
  static constexpr int threads = 256;
  static constexpr const char* name = "swiglu_forward";
  const float* gate;
  const float* up;
  float* out;
  Index count;

  /// Blocks of threads in a launch.
  Index blocks() const { return blocks_for(count, threads); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    for (Index i = thread.first(); i < count; i += thread.stride()) {
      const float z = thread.load(gate + i);
      thread.store(out + i, z / (1.f + std::exp(-z)) * thread.load(up + i));
    }
  }
};

/// The gradients of gate and up in place of gate and up themselves.
struct SwigluBackward {
  static constexpr int threads = 256;
  static constexpr const char* name = "swiglu_backward";
  float* gate;
  float* up;
  const float* dout;
  Index count;

  /// Blocks of threads in a launch.
  Index blocks() const { return blocks_for(count, threads); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    for (Index i = thread.first(); i < count; i += thread.stride()) {
      const float z = thread.load(gate + i), u = thread.load(up + i), d = thread.load(dout + i);
      const float s = 1.f / (1.f + std::exp(-z));
      thread.store(up + i, d * z * s);
      thread.store(gate + i, d * u * s * (1.f + z * (1.f - s)));
    }
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
