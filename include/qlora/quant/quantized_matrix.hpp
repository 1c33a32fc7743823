/// A packed matrix that owns its bytes; `view()` reads them.
///
///     qlora::QuantizedMatrix w = qlora::quantize<Nf4Dq>(dense);
///     w.bytes();      // what it costs, scales included
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "qlora/core/error.hpp"
#include "qlora/quant/quantized_view.hpp"

namespace qlora {

template <class F>
class QuantizedMatrix {
  static_assert(Format<F>, "QuantizedMatrix: the argument must be a BlockFormat");

 public:
  using FormatType = F;
  using ScaleStorage = typename F::ScaleType::Storage;

  QuantizedMatrix() = default;

  /// Takes packed codes and scales as they are. Throws ShapeError unless `codes` holds exactly
  /// [rows, cols] codes and `scale` one scale a block.
  QuantizedMatrix(std::vector<std::uint8_t> codes, ScaleStorage scale, Index rows, Index cols,
                  Index block_size = F::block_size)
      : codes_(std::move(codes)),
        scale_(std::move(scale)),
        rows_(rows),
        cols_(cols),
        block_size_(block_size) {
    require<ShapeError>(rows >= 0 && cols >= 0, "QuantizedMatrix: expected a shape, found [", rows,
                        ", ", cols, "]");
    require<ShapeError>(
        block_size_ > 0 && (F::block_size == Dynamic || block_size_ == F::block_size),
        "QuantizedMatrix: expected a block size of ", F::block_size == Dynamic ? 1 : F::block_size,
        F::block_size == Dynamic ? " or more" : "", ", found ", block_size_);
    const Index bytes = packed_bytes(F::code_bits, rows * cols);
    require<ShapeError>(static_cast<Index>(codes_.size()) == bytes, "QuantizedMatrix: expected ",
                        bytes, " bytes of codes for shape [", rows, ", ", cols, "], found ",
                        codes_.size());
    const Index blocks = view().block_count();
    require<ShapeError>(scale_.size() == blocks, "QuantizedMatrix: expected ", blocks,
                        " scales for shape [", rows, ", ", cols, "], found ", scale_.size());
  }

  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  Index block_size() const { return block_size_; }
  /// The bytes of codes and scales.
  Index bytes() const { return static_cast<Index>(codes_.size()) + scale_.bytes(); }
  const std::vector<std::uint8_t>& codes() const { return codes_; }
  const ScaleStorage& scale() const { return scale_; }

  QuantizedView<F> view() const {
    return {codes_.data(), scale_.view(), rows_, cols_, block_size_};
  }

  /// The transpose as an operand: `x * w.transpose()`. Of a temporary it would dangle, so that does
  /// not compile.
  TransposedView<F> transpose() const& { return {view()}; }
  TransposedView<F> transpose() const&& = delete;

 private:
  std::vector<std::uint8_t> codes_;
  ScaleStorage scale_;
  Index rows_ = 0, cols_ = 0, block_size_ = F::block_size;
};

}  // namespace qlora
