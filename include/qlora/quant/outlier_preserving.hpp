/// Any format with its largest weights kept in 16 bits beside it: they no longer stretch the scale
/// of their block. Blumenberg et al. 2026 ("outlier-preserving quantization").
///
///     using Bof4SOpq = qlora::OutlierPreserving<qlora::formats::bof4_s, std::ratio<1, 1000>>;
///     qlora::QuantizedMatrix w = qlora::quantize<formats::bof4_s_opq>(dense);   // keeps 1 weight in 1000
#pragma once

#include <cstdint>
#include <ratio>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/quant/packed_view.hpp"

namespace qlora::inline QLORA_ABI {

/// The share of a matrix's weights, those of largest magnitude, that is kept as bfloat16 with a
/// 32-bit column: 48 bits each, and 32 bits a row.
template <class F, class Share = std::ratio<1, 1000>>
struct OutlierPreserving {
  static_assert(is_block_format<F>, "OutlierPreserving: the first argument must be a BlockFormat");
  static_assert(std::ratio_greater_equal_v<Share, std::ratio<0>> &&
                    std::ratio_less_v<Share, std::ratio<1>>,
                "OutlierPreserving: the share must lie in [0, 1)");
  using InnerFormat = F;
  static constexpr int block_size = F::block_size;
  static constexpr int code_bits = F::code_bits;
  static constexpr double share = static_cast<double>(Share::num) / static_cast<double>(Share::den);
  /// Without the 32 bits a row.
  static constexpr double bits_per_weight = F::bits_per_weight + share * 48;
};

/// Weights kept in 16 bits, row by row, columns ascending.
struct Outliers {
  std::vector<std::uint32_t> row_start;  ///< [rows + 1]: where each row's begin
  std::vector<std::uint32_t> column;     ///< of each outlier
  std::vector<bfloat16> value;           ///< of each outlier

  struct View {
    const std::uint32_t* row_start = nullptr;
    const std::uint32_t* column = nullptr;
    const bfloat16* value = nullptr;
    template <class Move>
    View relocated(Index rows, Move&& move) const {
      const auto count = static_cast<Index>(row_start[rows]);
      return {move(row_start, rows + 1), move(column, count), move(value, count)};
    }
  };
  /// Reads these outliers, which must outlive it; of a temporary it does not compile.
  View view() const& { return {row_start.data(), column.data(), value.data()}; }
  View view() const&& = delete;
  /// The bytes of all three lists.
  Index bytes() const {
    return static_cast<Index>(row_start.size() * 4 + column.size() * 4 + value.size() * 2);
  }

  /// Whether they describe weights of a matrix [rows, cols].
  bool fit(Index rows, Index cols) const {
    if (static_cast<Index>(row_start.size()) != rows + 1 || row_start.front() != 0 ||
        row_start.back() != column.size() || column.size() != value.size())
      return false;
    for (std::size_t row = 0; row + 1 < row_start.size(); ++row) {
      if (row_start[row] > row_start[row + 1] || row_start[row + 1] > column.size()) return false;
      for (std::size_t i = row_start[row]; i < row_start[row + 1]; ++i)
        if (static_cast<Index>(column[i]) >= cols ||
            (i > row_start[row] && column[i - 1] >= column[i]))
          return false;
    }
    return true;
  }

  /// Its parts by name, for files.
  template <class Archive>
  void describe(Archive& archive, Index rows) {
    archive.array("outlier_row_start", row_start, rows + 1);
    const Index count = row_start.empty() ? 0 : static_cast<Index>(row_start.back());
    archive.array("outlier_column", column, count);
    archive.array("outlier_value", value, count);
  }
};

/// The packed weights, and over them the outliers.
template <class F, class Share>
class QuantizedView<OutlierPreserving<F, Share>> {
 public:
  using FormatType = OutlierPreserving<F, Share>;

  QuantizedView() = default;
  QLORA_HD QuantizedView(QuantizedView<F> rest, Outliers::View outliers)
      : rest_(rest), outliers_(outliers) {}

  /// The same matrix elsewhere: move(pointer, n) is the new place of n numbers.
  template <class Move>
  QuantizedView relocated(Move&& move) const {
    return {rest_.relocated(move), outliers_.relocated(rows(), move)};
  }

  QLORA_HD Index rows() const { return rest_.rows(); }
  QLORA_HD Index cols() const { return rest_.cols(); }
  QLORA_HD Index size() const { return rest_.size(); }
  QLORA_HD Index block_size() const { return rest_.block_size(); }
  QLORA_HD Index block_count() const { return rest_.block_count(); }

  QLORA_HD float operator()(Index row, Index col) const {
    const std::uint32_t place = first_from(row, col);
    if (place < outliers_.row_start[row + 1] && static_cast<Index>(outliers_.column[place]) == col)
      return outliers_.value[place];
    return rest_(row, col);
  }

  template <class T>
  QLORA_HD Index decode_block(Index row, Index block, T* out) const {
    const Index begin = block * block_size();
    const Index count = begin + block_size() < cols() ? block_size() : cols() - begin;
    decode_range(row * cols() + begin, count, out);
    return count;
  }

  template <class T>
  QLORA_HD void decode_range(Index begin, Index count, T* out) const {
    rest_.decode_range(begin, count, out);
    const Index end = begin + count;
    for (Index row_begin = begin; row_begin < end;) {
      const Index row = row_begin / cols(), start = row * cols();
      const Index stop = start + cols() < end ? start + cols() : end;
      for (std::uint32_t i = first_from(row, row_begin - start); i < outliers_.row_start[row + 1];
           ++i) {
        const Index position = start + static_cast<Index>(outliers_.column[i]);
        if (position >= stop) break;
        out[position - begin] = static_cast<T>(static_cast<float>(outliers_.value[i]));
      }
      row_begin = stop;
    }
  }

 private:
  /// The first outlier of a row at a column or after it.
  QLORA_HD std::uint32_t first_from(Index row, Index col) const {
    std::uint32_t low = outliers_.row_start[row], high = outliers_.row_start[row + 1];
    while (low < high) {
      const std::uint32_t middle = low + (high - low) / 2;
      if (static_cast<Index>(outliers_.column[middle]) < col) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  QuantizedView<F> rest_;
  Outliers::View outliers_;
};

}  // namespace qlora::inline QLORA_ABI
