/// Rows of a table, packed or dense, picked by token id. The table is frozen in QLoRA;
/// `embedding_backward` serves those who train it.
#pragma once

#include <cstdint>
#include <span>

#include "qlora/nn/linear.hpp"

namespace qlora {

using Token = std::int32_t;

/// out.row(i) = table.row(ids[i]). table: [vocabulary, width]. Throws ShapeError for an id outside
/// the table.
template <Scalar T, class Table>
void embedding_forward(const Table& table, std::span<const Token> ids, RowMatrix<T>& out) {
  out.resize(static_cast<Index>(ids.size()), table.cols());
  for (Index i = 0; i < out.rows(); ++i) {
    const Token id = ids[static_cast<std::size_t>(i)];
    require<ShapeError>(id >= 0 && id < table.rows(), "embedding: token ", i,
                        ": expected an id below ", table.rows(), ", found ", id);
    out.row(i) = decode_rows<T>(table, id, 1);
  }
}

/// table_grad.row(ids[i]) += dy.row(i).
template <Scalar T>
void embedding_backward(const RowMatrix<T>& dy, std::span<const Token> ids,
                        RowMatrix<T>& table_grad) {
  for (Index i = 0; i < dy.rows(); ++i)
    table_grad.row(ids[static_cast<std::size_t>(i)]) += dy.row(i);
}

}  // namespace qlora
