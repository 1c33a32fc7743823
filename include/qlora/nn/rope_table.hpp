/// The angles of rotary position embedding, for the host's layer and a device's: element i of a
/// head turns by position * base^(-2i/d). Su et al. 2021.
///
///     std::vector<float> cosine(512 * 32), sine(512 * 32);
///     qlora::fill_rotations(64, 10000.0, 0, 512, cosine.data(), sine.data());
#pragma once

#include <cmath>
#include <concepts>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// Writes cosine and sine of the angles of positions [first, last), each [last - first, head_width
/// / 2] row-major. Angles are taken in double and rounded to T.
template <std::floating_point T>
void fill_rotations(Index head_width, double base, Index first, Index last, T* cosine, T* sine) {
  const Index half = head_width / 2;
  for (Index i = 0; i < half; ++i) {
    const double frequency =
        std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(2 * half));
    for (Index position = first; position < last; ++position) {
      const double angle = static_cast<double>(position) * frequency;
      const Index at = (position - first) * half + i;
      cosine[at] = static_cast<T>(std::cos(angle));
      sine[at] = static_cast<T>(std::sin(angle));
    }
  }
}

}  // namespace qlora::inline QLORA_ABI
