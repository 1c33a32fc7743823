/// Codebooks whose values are found at run time: learned from the weights, or read from a file. A
/// table of your own is a RuntimeTable (runtime_table.hpp).
///
///     using Learned4 = qlora::BlockFormat<qlora::Learned<4>, 64, qlora::DoubleQuant<>>;
///     qlora::QuantizedMatrix w = qlora::quantize<formats::learned4>(dense);
///     w.codebook().values;   // 16 floats
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "qlora/codebook/codebook.hpp"
#include "qlora/codebook/k_means.hpp"
#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// Whether a matrix has one table of learned values or each of its rows has one.
enum class OneTable { per_matrix, per_row };

/// The threshold between two neighbouring values.
QLORA_HD constexpr float mid_point(float low, float high) {
  return static_cast<float>((static_cast<double>(low) + static_cast<double>(high)) / 2);
}

/// 2^Bits values in units of a block's scale, one table for the whole matrix or one for each row.
/// `quantize` learns them as the ones of least squared error of the weights (k-means weighted by
/// the squares of the scales).
template <int Bits, OneTable Reach = OneTable::per_matrix>
struct Learned {
  static_assert(Bits >= 1 && Bits <= 8, "Learned: codes have 1 to 8 bits");
  static constexpr int bits = Bits;
  static constexpr bool by_row = Reach == OneTable::per_row;
  static constexpr Index count = Index{1} << Bits;
  static constexpr bool is_learned = true;

  struct View {
    const float* values = nullptr;
    QLORA_HD float operator()(std::uint8_t code, Index row) const {
      return values[(by_row ? row * count : 0) + code];
    }
    template <class Move>
    View relocated(Index rows, Move&& move) const {
      return {move(values, by_row ? rows * count : Index{count})};
    }
    /// The number of mid-points strictly below `x`, as qlora::encode has it; values ascend.
    QLORA_HD std::uint8_t encode(float x, Index row) const {
      const float* table = values + (by_row ? row * count : 0);
      int below = 0;
      for (int i = 0; i + 1 < count; ++i) below += mid_point(table[i], table[i + 1]) < x ? 1 : 0;
      return static_cast<std::uint8_t>(below);
    }
  };

  struct Storage {
    std::vector<float> values;  ///< 2^Bits per table, in code order
    View view() const& { return {values.data()}; }
    View view() const&& = delete;
    Index bytes() const { return static_cast<Index>(values.size() * sizeof(float)); }
    /// Whether these are the finite values of a matrix of so many rows.
    bool fits(Index rows) const {
      return static_cast<Index>(values.size()) == (by_row ? rows * count : Index{count}) &&
             all_finite(values.data(), static_cast<Index>(values.size()));
    }

    /// Its parts by name, for files.
    template <class Archive>
    void describe(Archive& archive, Index rows) {
      archive.array("quant_map", values, by_row ? rows * count : count);
    }
  };
};

/// Sums weighted numbers in [-1, 1] in `bins` equal bins, from which k_means finds values. One
/// thread fills an object at a time; adding the threads' histograms in a fixed order gives the same
/// bits for any number of threads.
class WeightHistogram {
 public:
  explicit WeightHistogram(std::size_t bins) : weight_(bins, 0.0), sum_(bins, 0.0) {}

  /// Adds a number in [-1, 1] with its weight; numbers outside count in the outermost bins.
  void add(float position, double weight) {
    const auto bins = static_cast<double>(weight_.size());
    const double place = (static_cast<double>(position) + 1) / 2 * bins;
    const auto bin = static_cast<std::size_t>(std::clamp(place, 0.0, bins - 1));
    weight_[bin] += weight;
    sum_[bin] += weight * static_cast<double>(position);
  }
  /// Adds another histogram, which must have as many bins.
  void add(const WeightHistogram& other) {
    for (std::size_t i = 0; i < weight_.size(); ++i) {
      weight_[i] += other.weight_[i];
      sum_[i] += other.sum_[i];
    }
  }

  /// The mean of each bin that holds something.
  std::vector<WeightedPoint> points() const {
    std::vector<WeightedPoint> points;
    for (std::size_t i = 0; i < weight_.size(); ++i)
      if (weight_[i] > 0) points.push_back({sum_[i] / weight_[i], weight_[i]});
    return points;
  }

 private:
  std::vector<double> weight_, sum_;
};

/// Finds the code of a number as Learned's View does, for one table, whose values must ascend. The
/// mid-points are computed once. Several threads may call one object.
class TableEncoder {
 public:
  explicit TableEncoder(std::span<const float> table) {
    for (std::size_t i = 0; i + 1 < table.size(); ++i)
      thresholds_.push_back(mid_point(table[i], table[i + 1]));
  }

  std::uint8_t operator()(float x) const {
    int below = 0;
    for (const float threshold : thresholds_) below += threshold < x ? 1 : 0;
    return static_cast<std::uint8_t>(below);
  }

 private:
  std::vector<float> thresholds_;
};

}  // namespace qlora::inline QLORA_ABI
