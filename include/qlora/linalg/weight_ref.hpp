/// A weight [out, in] as the float kernels see it, whatever its format: something that decodes runs
/// of weights, and for most 4-bit formats the codes themselves. So kernels are compiled once and
/// not once a format.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/quant/decode.hpp"

#if QLORA_HAS_VECTORS

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "qlora/core/matrix.hpp"
#include "qlora/quant/packed_view.hpp"

namespace qlora::inline QLORA_ABI::linalg_detail {

using namespace simd;

/// The scales of blocks [first, first + count): one by one, or quantized ones by vectors, to the
/// same bits.
template <class View>
void read_scales(const View& scale, Index first, Index count, float* out) {
  if constexpr (requires { typename View::MapType; }) {
    if constexpr (code_bits<typename View::MapType> == 8) {
      const VectorDecoder<8> decoder(decode_table<typename View::MapType>.at,
                                     lookup_table<typename View::MapType>);
      for (const Index end = first + count; first < end;) {
        const Index block = first / View::block_size;
        const Index stop = std::min(end, (block + 1) * View::block_size);
        decoder(scale.codes, stop, first, stop - first,
                ScaleAndOffset{scale.inner(block), scale.offset}, out);
        out += stop - first;
        first = stop;
      }
      return;
    }
  }
  for (Index i = 0; i < count; ++i) out[i] = scale(first + i);
}

/// Refers to a view or a matrix, which must outlive it.
class WeightRef {
 public:
  template <class F>
  explicit WeightRef(const QuantizedView<F>& view)
      : rows_(view.rows()), cols_(view.cols()), view_(&view) {
    decode_ = [](const void* from, Index begin, Index count, float* out) {
      static_cast<const QuantizedView<F>*>(from)->decode_range(begin, count, out);
    };
    if constexpr (requires { view.lookup_table(); }) {
      codes_ = view.codes();
      block_size_ = view.block_size();
      table_ = view.lookup_table();
      scales_ = [](const void* from, Index first, Index count, float* out) {
        read_scales(static_cast<const QuantizedView<F>*>(from)->scale(), first, count, out);
      };
    }
  }
  explicit WeightRef(const ConstMatrixRef<float>& dense)
      : rows_(dense.rows()),
        cols_(dense.cols()),
        dense_(dense.data()),
        stride_(dense.outerStride()) {}

  Index rows() const { return rows_; }
  Index cols() const { return cols_; }

  /// Columns [col, col + count) of a row.
  void decode(Index row, Index col, Index count, float* out) const {
    if (dense_) {
      std::copy_n(dense_ + row * stride_ + col, count, out);
    } else {
      decode_(view_, row * cols_ + col, count, out);
    }
  }

  /// Whether the weights lie in memory as floats, rows stride() apart.
  bool is_dense() const { return dense_ != nullptr; }
  const float* dense(Index row, Index col) const { return dense_ + row * stride_ + col; }
  Index stride() const { return stride_; }

  /// Whether the weights are 4-bit codes of one table, each block with one number as its scale.
  bool is_four_bit() const { return codes_ != nullptr; }
  const std::uint8_t* codes() const { return codes_; }
  Index block_size() const { return block_size_; }
  const LookupTable& table() const { return table_; }
  /// The scales of blocks [first, first + count).
  void scales(Index first, Index count, float* out) const { scales_(view_, first, count, out); }

 private:
  Index rows_, cols_;
  const void* view_ = nullptr;
  void (*decode_)(const void*, Index, Index, float*) = nullptr;
  const float* dense_ = nullptr;
  Index stride_ = 0;
  const std::uint8_t* codes_ = nullptr;
  Index block_size_ = 0;
  LookupTable table_;
  void (*scales_)(const void*, Index, Index, float*) = nullptr;
};

}  // namespace qlora::inline QLORA_ABI::linalg_detail

#endif  // QLORA_HAS_VECTORS
