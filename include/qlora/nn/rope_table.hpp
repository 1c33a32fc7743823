/// The angles of rotary position embedding, for the host's layer and a device's. Su et al. 2021.
///
///     const auto frequencies = qlora::rotary_frequencies({.base = 10000}, 64);
///     std::vector<float> cosine(512 * 32), sine(512 * 32);
///     qlora::fill_rotations(frequencies, 1.0, 0, 512, cosine.data(), sine.data());
#pragma once

#include <cmath>
#include <concepts>
#include <span>

#include "qlora/core/config.hpp"
#include "qlora/nn/rotary.hpp"

namespace qlora::inline QLORA_ABI {

/// Writes cosine and sine of the angles of positions [first, last), times `magnitude`; each [last -
/// first, frequencies] row-major. Angles are taken in double and rounded to T.
template <std::floating_point T>
void fill_rotations(std::span<const double> frequencies, double magnitude, Index first, Index last,
                    T* cosine, T* sine) {
  const auto pairs = static_cast<Index>(frequencies.size());
  for (Index i = 0; i < pairs; ++i)
    for (Index position = first; position < last; ++position) {
      const double angle = static_cast<double>(position) * frequencies[static_cast<std::size_t>(i)];
      const Index at = (position - first) * pairs + i;
      cosine[at] = static_cast<T>(magnitude * std::cos(angle));
      sine[at] = static_cast<T>(magnitude * std::sin(angle));
    }
}

}  // namespace qlora::inline QLORA_ABI
