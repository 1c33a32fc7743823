/// A narrow float a block and one float32 for the whole matrix, as in NVFP4.
///
///     using NvFp4 = qlora::BlockFormat<qlora::E2M1, 16, qlora::TwoLevelScale<qlora::e4m3>>;
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/quant/scale.hpp"

namespace qlora::inline QLORA_ABI {

/// T: a type with its `largest` value. The matrix's factor lets its largest block scale be T's
/// largest; a block scale that rounds to 0 decodes to zeros. `store` throws NumericError where the
/// factor is no finite number.
template <class T = e4m3>
struct TwoLevelScale {
  static_assert(
      requires { T::largest; },
      "TwoLevelScale: the type must name its largest value, as e4m3 does");
  static constexpr double bits_per_scale = 8.0 * sizeof(T);
  static constexpr bool codes_follow_stored = true, stores_no_sign = true;
  /// A factor beyond this would need weights that are not finite.
  static constexpr float largest_scale = largest_float;

  struct View {
    const T* values = nullptr;
    float tensor = 0;
    QLORA_HD TwoFactors operator()(Index block) const {
      return {static_cast<float>(values[block]), tensor};
    }
    template <class Move>
    View relocated(Index count, Move&& move) const {
      return {move(values, count), tensor};
    }
  };

  struct Storage {
    std::vector<T> values;
    float tensor = 0;
    View view() const& { return {values.data(), tensor}; }
    View view() const&& = delete;
    Index size() const { return static_cast<Index>(values.size()); }
    Index bytes() const {
      return static_cast<Index>(values.size() * sizeof(T)) + static_cast<Index>(sizeof(float));
    }
    template <class Archive>
    void describe(Archive& archive, Index count) {
      archive.array("absmax", values, count);
      archive.number("tensor_scale", tensor);
    }
  };

  static Storage store(std::span<const float> references, float value = 1) {
    Storage storage;
    const float absmax =
        references.empty() ? 0.f : *std::max_element(references.begin(), references.end());
    storage.tensor = absmax / (value * T::largest);
    require<NumericError>(is_finite(storage.tensor),
                          "quantize: expected a finite factor for the matrix, found ",
                          storage.tensor, " for a largest weight of ", absmax);
    storage.values.reserve(references.size());
    for (const float reference : references)
      storage.values.push_back(T(storage.tensor > 0 ? reference / value / storage.tensor : 0.f));
    return storage;
  }
};

}  // namespace qlora::inline QLORA_ABI
