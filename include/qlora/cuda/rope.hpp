/// Rotary position embedding in place, with the CPU's tables (nn/rope.hpp).
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/cuda/kernel.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// x: [rows, heads * 2 * half]; cosine, sine: [positions, half]; position: of each row. direction 1
/// turns, -1 turns back.
struct Rope {
  static constexpr int threads = 256;
  static constexpr const char* name = "rotate";
  float* x;
  const float* cosine;
  const float* sine;
  const Index* position;
  Index rows, heads, half;
  float direction;

  /// Blocks of threads in a launch.
  Index blocks() const { return blocks_for(rows * heads * half, threads); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    for (Index i = thread.first(); i < rows * heads * half; i += thread.stride()) {
      const Index pair = i % half, head = i / half % heads, row = i / half / heads;
      float* low = x + (row * heads + head) * 2 * half + pair;
      const Index angle = thread.load(position + row) * half + pair;
      const float c = thread.load(cosine + angle), s = direction * thread.load(sine + angle);
      const float a = thread.load(low), b = thread.load(low + half);
      thread.store(low, a * c - b * s);
      thread.store(low + half, b * c + a * s);
    }
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
