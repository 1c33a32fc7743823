/// Rows of a table, packed or dense, picked by token id. The table is frozen in QLoRA;
/// `embedding_backward` serves those who train it.
#pragma once

#include <span>

#include "qlora/core/config.hpp"
#include "qlora/core/token.hpp"
#include "qlora/nn/linear.hpp"

namespace qlora::inline QLORA_ABI {

namespace nn_detail {
inline void require_ids(std::span<const Token> ids, Index vocabulary) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    require<ShapeError>(ids[i] >= 0 && ids[i] < vocabulary, "embedding: token ", i,
                        ": expected an id below ", vocabulary, ", found ", ids[i]);
}
}  // namespace nn_detail

/// out.row(i) = table.row(ids[i]). table: [vocabulary, width]; out: [ids, width], overwritten. Throws
/// ShapeError for an id outside the table and for another shape of out.
template <Scalar T, class Table>
void embedding_forward(const Table& table, std::span<const Token> ids, MatrixRef<T> out) {
  nn_detail::require_ids(ids, table.rows());
  require_shape("embedding: out", out, static_cast<Index>(ids.size()), table.cols());
  for (Index i = 0; i < out.rows(); ++i)
    out.row(i) = decode_rows<T>(table, ids[static_cast<std::size_t>(i)], 1);
}

/// table_grad.row(ids[i]) += dy.row(i). dy: [ids, width]; table_grad: [vocabulary, width]. Throws
/// ShapeError for other shapes and for an id outside the table; then nothing is added.
template <Scalar T>
void embedding_backward(const RowMatrix<T>& dy, std::span<const Token> ids,
                        RowMatrix<T>& table_grad) {
  require_shape("embedding: dy", dy, static_cast<Index>(ids.size()), table_grad.cols());
  nn_detail::require_ids(ids, table_grad.rows());
  for (Index i = 0; i < dy.rows(); ++i)
    table_grad.row(ids[static_cast<std::size_t>(i)]) += dy.row(i);
}

}  // namespace qlora::inline QLORA_ABI
