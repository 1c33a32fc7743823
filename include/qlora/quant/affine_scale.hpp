/// A scale and a minimum a block, as in GGUF's Q4_1: codes are steps from the minimum up.
///
///     using Q4_1 = qlora::BlockFormat<qlora::GgmlUInt4, 32, qlora::AffineScale<qlora::float16>>;
#pragma once

#include <span>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/quant/scale.hpp"

namespace qlora::inline QLORA_ABI {

/// For codebooks that begin at 0, such as UInt<4>; T stores both numbers, rounded after coding.
/// `store` throws NumericError for a step or a minimum beyond T's largest number.
template <class T = float>
struct AffineScale {
  using NormalizationType = MinimumMaximum;
  static constexpr double bits_per_scale = 16.0 * sizeof(T);
  static constexpr float largest_scale = quant_detail::largest_stored<T>;

  /// The scale and the minimum of a block.
  struct Step {
    T scale{}, minimum{};
  };

  struct View {
    const Step* steps = nullptr;
    QLORA_HD ScaleAndOffset operator()(Index block) const {
      return {static_cast<float>(steps[block].scale), static_cast<float>(steps[block].minimum)};
    }
    template <class Move>
    View relocated(Index count, Move&& move) const {
      return {move(steps, count)};
    }
  };

  struct Storage {
    std::vector<Step> steps;
    View view() const& { return {steps.data()}; }
    View view() const&& = delete;
    Index size() const { return static_cast<Index>(steps.size()); }
    Index bytes() const { return static_cast<Index>(steps.size() * sizeof(Step)); }
    /// Scale and minimum of a block stand side by side.
    template <class Archive>
    void describe(Archive& archive, Index count) {
      archive.template pairs<T>("absmax", steps, count);
    }
  };

  static Storage store(std::span<const Range> references, float value = 1) {
    Storage storage;
    storage.steps.reserve(references.size());
    for (const Range& range : references) {
      const std::size_t block = storage.steps.size();
      storage.steps.push_back(
          {quant_detail::stored_number<T>((range.maximum - range.minimum) / value, block, "scale"),
           quant_detail::stored_number<T>(range.minimum, block, "minimum")});
    }
    return storage;
  }
};

}  // namespace qlora::inline QLORA_ABI
