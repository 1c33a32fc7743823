/// Dropout that is a pure function of its key and place, the CPU's bit for bit
/// (qlora::apply_dropout): the backward pass makes it again instead of reading a mask.
#pragma once

#include <cstdint>

#include "qlora/core/random.hpp"
#include "qlora/cuda/kernel.hpp"

namespace qlora::cuda {

/// Drops an element with probability p and divides the others by 1 - p. With p = 0 nothing.
struct Dropout {
  std::uint64_t key = 0;
  std::uint32_t threshold = 0;  ///< p 2^32
  float keep_scale = 1;         ///< 1 / (1 - p)

  Dropout() = default;
  Dropout(float p, std::uint64_t key_)
      : key(key_),
        threshold(static_cast<std::uint32_t>(static_cast<double>(p) * 4294967296.0)),
        keep_scale(1.f / (1.f - p)) {}

  QLORA_HD bool acts() const { return threshold > 0; }

  /// The stream of a row; `factor` takes it.
  QLORA_HD std::uint64_t stream(Index row) const {
    return derive_key(key, static_cast<std::uint64_t>(row));
  }
  /// What columns [4 block, 4 block + 4) of a row are multiplied by.
  QLORA_HD void factors(std::uint64_t stream, Index block, float (&factor)[4]) const {
    const PhiloxBlock random = philox(stream, static_cast<std::uint64_t>(block));
    QLORA_UNROLL
    for (int i = 0; i < 4; ++i) factor[i] = random.word[i] < threshold ? 0.f : keep_scale;
  }
  /// What one column of a row is multiplied by.
  QLORA_HD float factor(std::uint64_t stream, Index col) const {
    const PhiloxBlock random = philox(stream, static_cast<std::uint64_t>(col / 4));
    const std::uint32_t low = col % 2 == 0 ? random.word[0] : random.word[1];
    const std::uint32_t high = col % 2 == 0 ? random.word[2] : random.word[3];
    return (col % 4 < 2 ? low : high) < threshold ? 0.f : keep_scale;
  }
};

/// out = dropout(x); x, out: [rows, cols]. A thread takes four columns, which share a random block.
struct ApplyDropout {
  static constexpr int threads = 256;
  static constexpr const char* name = "apply_dropout";
  const float* x;
  float* out;
  Index rows, cols;
  Dropout dropout;

  Index blocks() const { return blocks_for(rows * ((cols + 3) / 4), threads); }

  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    const Index a_row = (cols + 3) / 4;
    for (Index i = thread.first(); i < rows * a_row; i += thread.stride()) {
      const Index row = i / a_row, block = i % a_row;
      float factor[4] = {1, 1, 1, 1};
      if (dropout.acts()) dropout.factors(dropout.stream(row), block, factor);
      QLORA_UNROLL
      for (int k = 0; k < 4 && 4 * block + k < cols; ++k) {
        const Index at = row * cols + 4 * block + k;
        const float kept = thread.load(x + at) * factor[k];
        thread.store(out + at, factor[k] == 0 ? 0.f : kept);
      }
    }
  }
};

}  // namespace qlora::cuda
