/// A packed matrix that owns its bytes; `view()` reads them.
///
///     qlora::QuantizedMatrix w = qlora::quantize<formats::nf4_dq>(dense);
///     w.bytes();      // what it costs, scales included
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/quant/outlier_preserving.hpp"
#include "qlora/quant/packed_view.hpp"

namespace qlora::inline QLORA_ABI {

/// Owns what a QuantizedView of the same format reads. A const one may be read by several threads
/// at once.
template <class F>
class QuantizedMatrix {
  static_assert(Format<F>, "QuantizedMatrix: the argument must be a BlockFormat");

 public:
  using FormatType = F;
  using ScaleStorage = typename F::ScaleType::Storage;
  using CodebookStorage = typename codebook_traits<typename F::CodebookType>::Storage;

  QuantizedMatrix() = default;

  /// Takes packed codes and scales as they are, and a run-time codebook's values. Throws ShapeError
  /// unless `codes` holds exactly [rows, cols] codes and `scale` one scale per block.
  QuantizedMatrix(std::vector<std::uint8_t> codes, ScaleStorage scale, Index rows, Index cols,
                  Index block_size = F::block_size, CodebookStorage codebook = {})
      : codes_(std::move(codes)),
        scale_(std::move(scale)),
        codebook_(std::move(codebook)),
        rows_(rows),
        cols_(cols),
        block_size_(block_size) {
    require<ShapeError>(rows >= 0 && cols >= 0, "QuantizedMatrix: expected a shape, found [", rows,
                        ", ", cols, "]");
    require<ShapeError>(
        block_size_ > 0 && (F::block_size == any_size || block_size_ == F::block_size),
        "QuantizedMatrix: expected a block size of ", F::block_size == any_size ? 1 : F::block_size,
        F::block_size == any_size ? " or more" : "", ", found ", block_size_);
    const Index bytes = packed_bytes(F::code_bits, rows * cols);
    require<ShapeError>(static_cast<Index>(codes_.size()) == bytes, "QuantizedMatrix: expected ",
                        bytes, " bytes of codes for shape [", rows, ", ", cols, "], found ",
                        codes_.size());
    const Index blocks = (rows * cols + block_size_ - 1) / block_size_;
    require<ShapeError>(scale_.size() == blocks, "QuantizedMatrix: expected ", blocks,
                        " scales for shape [", rows, ", ", cols, "], found ", scale_.size());
    if constexpr (RuntimeCodebook<typename F::CodebookType>)
      require<ShapeError>(codebook_.fits(rows),
                          "QuantizedMatrix: expected finite values of codes for ", rows,
                          " rows, found ", codebook_.bytes(), " bytes of values that do not fit");
  }

  /// The rows, which are the outputs of a linear layer.
  Index rows() const { return rows_; }
  /// The columns, which are its inputs.
  Index cols() const { return cols_; }
  /// The number of weights that share a scale.
  Index block_size() const { return block_size_; }
  /// The bytes of codes, scales and run-time codebooks.
  Index bytes() const {
    return static_cast<Index>(codes_.size()) + scale_.bytes() + codebook_.bytes();
  }
  const std::vector<std::uint8_t>& codes() const& { return codes_; }
  const ScaleStorage& scale() const& { return scale_; }
  const CodebookStorage& codebook() const& { return codebook_; }
  /// Of a temporary matrix its parts are moved out.
  std::vector<std::uint8_t> codes() && { return std::move(codes_); }
  ScaleStorage scale() && { return std::move(scale_); }
  CodebookStorage codebook() && { return std::move(codebook_); }

  /// Reads this matrix, which must outlive it. Of a temporary it would dangle, so that does not
  /// compile.
  QuantizedView<F> view() const& {
    return {codes_.data(), scale_.view(), rows_, cols_, block_size_, codebook_.view()};
  }
  QuantizedView<F> view() const&& = delete;

  /// The transpose as an operand: `x * w.transpose()`; like a view, not of a temporary.
  TransposedView<F> transpose() const& { return {view()}; }
  TransposedView<F> transpose() const&& = delete;

 private:
  std::vector<std::uint8_t> codes_;
  ScaleStorage scale_;
  [[no_unique_address]] CodebookStorage codebook_;
  Index rows_ = 0, cols_ = 0, block_size_ = F::block_size == any_size ? 1 : F::block_size;
};

/// A packed matrix of any format beside the weights that are kept in 16 bits. A const one may be
/// read by several threads at once.
template <class F, class Share>
class QuantizedMatrix<OutlierPreserving<F, Share>> {
 public:
  using FormatType = OutlierPreserving<F, Share>;

  QuantizedMatrix() = default;

  /// rest: the matrix with 0 where `outliers` has a weight. Throws ShapeError unless the outliers
  /// lie row by row inside it, columns ascending.
  QuantizedMatrix(QuantizedMatrix<F> rest, Outliers outliers)
      : rest_(std::move(rest)), outliers_(std::move(outliers)) {
    if (outliers_.row_start.empty())
      outliers_.row_start.assign(static_cast<std::size_t>(rest_.rows()) + 1, 0);
    require<ShapeError>(outliers_.fit(rest_.rows(), rest_.cols()),
                        "QuantizedMatrix: the outliers do not lie in the shape [", rest_.rows(),
                        ", ", rest_.cols(), "], rows and columns ascending");
  }

  Index rows() const { return rest_.rows(); }
  Index cols() const { return rest_.cols(); }
  Index block_size() const { return rest_.block_size(); }
  Index bytes() const { return rest_.bytes() + outliers_.bytes(); }
  const QuantizedMatrix<F>& rest() const& { return rest_; }
  const Outliers& outliers() const& { return outliers_; }
  QuantizedMatrix<F> rest() && { return std::move(rest_); }
  Outliers outliers() && { return std::move(outliers_); }

  QuantizedView<FormatType> view() const& { return {rest_.view(), outliers_.view()}; }
  QuantizedView<FormatType> view() const&& = delete;
  TransposedView<FormatType> transpose() const& { return {view()}; }
  TransposedView<FormatType> transpose() const&& = delete;

 private:
  QuantizedMatrix<F> rest_;
  Outliers outliers_;
};

}  // namespace qlora::inline QLORA_ABI
