/// A codebook whose values the program is given when it runs: from a setting, a file, a
/// calibration.
///
///     using Mine = qlora::BlockFormat<qlora::RuntimeTable<4>, 64, qlora::DoubleQuant<>>;
///     std::vector<float> values = ...;                       // up to 16, ascending
///     qlora::QuantizedMatrix w = qlora::quantize<Mine>(dense, values);
///     w.codebook().values;                                   // 16 floats
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "qlora/codebook/learned.hpp"
#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// Up to 2^Bits values for the codes of a matrix. Like a Codebook's they are in any unit: a block's
/// largest weight maps to the value of largest magnitude. With the values of a Codebook that has no
/// rules of its own for ties, thresholds or its largest value, the weights are the Codebook's, and
/// so are the codes where there are 2^Bits values.
template <int Bits>
struct RuntimeTable {
  static_assert(Bits >= 1 && Bits <= 8, "RuntimeTable: codes have 1 to 8 bits");
  static constexpr int bits = Bits;
  static constexpr bool by_row = false;
  static constexpr Index count = Index{1} << Bits;

  using View = typename Learned<Bits>::View;

  struct Storage {
    std::vector<float> values;  ///< 2^Bits, in code order

    Storage() = default;
    /// Takes 2 to 2^Bits values; of fewer the last one repeats. Throws FormatError unless they are
    /// finite, ascend and are not all zero.
    Storage(std::vector<float> table) : values(std::move(table)) {
      const auto size = static_cast<Index>(values.size());
      require<FormatError>(size >= 2 && size <= count, "RuntimeTable: expected 2 to ", count,
                           " values, found ", size);
      for (std::size_t i = 0; i < values.size(); ++i) {
        require<FormatError>(is_finite(values[i]), "RuntimeTable: value ", i,
                             ": expected a finite number, found ", values[i]);
        require<FormatError>(i == 0 || values[i - 1] <= values[i], "RuntimeTable: value ", i,
                             ": expected at least ", values[i == 0 ? 0 : i - 1],
                             ", the value before, found ", values[i]);
      }
      require<FormatError>(extreme() != 0, "RuntimeTable: expected a value that is not zero");
      values.resize(static_cast<std::size_t>(count), values.back());
    }

    View view() const& { return {values.data()}; }
    View view() const&& = delete;
    Index bytes() const { return static_cast<Index>(values.size() * sizeof(float)); }
    bool fits(Index) const {
      return static_cast<Index>(values.size()) == count && all_finite(values.data(), count) &&
             std::is_sorted(values.begin(), values.end()) && extreme() != 0;
    }
    /// The value of largest magnitude, the positive one of equals.
    float extreme() const {
      const float low = values.front(), high = values.back();
      return magnitude(low) > magnitude(high) ? low : high;
    }

    /// Its parts by name, for files.
    template <class Archive>
    void describe(Archive& archive, Index) {
      archive.array("quant_map", values, Index{count});
    }
  };
};

}  // namespace qlora::inline QLORA_ABI
