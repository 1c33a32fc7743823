/// The 8-bit dynamic map: an exponent of base 10 with a moving number of fraction bits. Dettmers,
/// "8-bit approximations for parallelism in deep learning", 2015; spaced in float32 as bitsandbytes
/// spaces it.
///
///     qlora::decode<qlora::Dynamic8>(255);   // 1.f
#pragma once

#include <algorithm>
#include <array>

#include "qlora/codebook/codebook.hpp"
#include "qlora/codebook/constant_math.hpp"
#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

namespace codebook_detail {

/// For i = 0..6: the mid-points of 2^i (signed) or 2^(i+1) intervals of [0.1, 1], times 10^(i-6);
/// and 0 and 1; sorted.
template <bool Signed>
constexpr auto make_dynamic_map() {
  std::array<float, 256> values{};
  constexpr float powers[7] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1e-0f};
  std::size_t next = 0;
  for (int i = 0; i < 7; ++i) {
    const int intervals = 1 << (Signed ? i : i + 1);
    for (int k = 0; k < intervals; ++k) {
      const float low = spaced_point(0.1f, 1.f, intervals + 1, k);
      const float high = spaced_point(0.1f, 1.f, intervals + 1, k + 1);
      const float value = powers[i] * ((low + high) / 2.f);
      values[next++] = value;
      if (Signed) values[next++] = -value;
    }
  }
  values[next++] = 0.f;
  values[next++] = 1.f;
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace codebook_detail

/// The signed map: what double quantization and Adam's first moment use.
struct Dynamic8 {
  static constexpr auto values = codebook_detail::make_dynamic_map<true>();
};

/// The unsigned map: Adam's second moment.
struct UnsignedDynamic8 {
  static constexpr auto values = codebook_detail::make_dynamic_map<false>();
};

}  // namespace qlora::inline QLORA_ABI
