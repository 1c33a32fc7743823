/// Row-major Eigen aliases: activations are [tokens, features], weights [out, in], as in every
/// checkpoint. As with any container, several threads may read a matrix, or write different elements
/// of it.
#pragma once

#include <Eigen/Core>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/scalar.hpp"

namespace qlora::inline QLORA_ABI {

/// A matrix that owns its numbers, row by row.
template <class T>
using RowMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using RowMatrixXf = RowMatrix<float>;
using RowMatrixXd = RowMatrix<double>;

/// A column of numbers.
template <class T>
using ColumnVector = Eigen::Matrix<T, Eigen::Dynamic, 1>;

/// A row-major matrix, or a block of its rows or columns, by reference. It is read without a copy;
/// an argument of another layout is copied into a temporary.
template <class T>
using ConstMatrixRef = Eigen::Ref<const RowMatrix<T>, 0, Eigen::OuterStride<>>;
/// The same to write to; the caller has given it its size.
template <class T>
using MatrixRef = Eigen::Ref<RowMatrix<T>, 0, Eigen::OuterStride<>>;

/// Throws ShapeError unless the matrix is [rows, cols]. Safe to call from several threads.
template <class Matrix>
void require_shape(const char* what, const Matrix& matrix, Index rows, Index cols) {
  require<ShapeError>(matrix.rows() == rows && matrix.cols() == cols, what, ": expected shape [",
                      rows, ", ", cols, "], found [", matrix.rows(), ", ", matrix.cols(), "]");
}

}  // namespace qlora::inline QLORA_ABI
