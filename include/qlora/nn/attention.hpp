/// Grouped-query causal attention by blocks of queries: softmax(s Q Kᵀ) V with s = 1/sqrt(head
/// width) or a scale of its own, a few rows of scores at a time. A window lets each query see so
/// many keys only. The forward pass keeps one log-sum-exp a (token, head); the backward pass makes
/// the scores again from it. Ainslie et al. 2023 (grouping); Dao et al. 2022 (recomputation).
///
///     qlora::AttentionShape shape{.heads = 9, .kv_heads = 3, .head_width = 64};
///     qlora::attention_forward<float>(shape, q, k, v, sequences, out, log_sums);
///
/// q, out: [tokens, heads * head_width]; k, v: [keys, kv_heads * head_width]; log_sums: [tokens,
/// heads].
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/nn/attention_shape.hpp"
#include "qlora/nn/batch_layout.hpp"

namespace qlora::inline QLORA_ABI {

namespace nn_detail {

inline constexpr Index query_block = 64;

template <class T>
void require_attention(const AttentionShape& shape, const ConstMatrixRef<T>& q,
                       const ConstMatrixRef<T>& k, const ConstMatrixRef<T>& v,
                       std::span<const SequenceSpan> sequences) {
  require<ShapeError>(shape.kv_heads > 0 && shape.head_width > 0 &&
                          shape.heads % shape.kv_heads == 0 &&
                          q.cols() == shape.heads * shape.head_width &&
                          k.cols() == shape.kv_heads * shape.head_width,
                      "attention: expected widths ", shape.heads * shape.head_width, " and ",
                      shape.kv_heads * shape.head_width, ", found ", q.cols(), " and ", k.cols());
  require_shape("attention: v", v, k.rows(), k.cols());
  Index row = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const SequenceSpan& s = sequences[i];
    require<ShapeError>(s.first_query == row && s.queries >= 0 && s.queries <= q.rows() - row,
                        "attention: sequence ", i, ": expected queries from row ", row, " on, of ",
                        q.rows(), " rows, found ", s.queries, " from row ", s.first_query, " on");
    require<ShapeError>(s.first_key >= 0 && s.first_key <= k.rows() && s.past >= 0 &&
                            s.past <= k.rows() - s.first_key - s.queries,
                        "attention: sequence ", i, ": expected keys within ", k.rows(),
                        " rows, found ", s.past, " + ", s.queries, " from row ", s.first_key,
                        " on");
    row += s.queries;
  }
  require<ShapeError>(row == q.rows(), "attention: expected sequences of ", q.rows(),
                      " queries together, found ", row);
}

/// The factor of the scores.
template <class T>
T score_scale(const AttentionShape& shape) {
  return shape.scale == 0 ? T(1) / std::sqrt(static_cast<T>(shape.head_width))
                          : static_cast<T>(shape.scale);
}

/// The keys that some queries of a sequence may see: [first, first + count) of its own.
struct VisibleKeys {
  Index first = 0, count = 0;
  /// Of `rows` queries from `query` on.
  VisibleKeys(const AttentionShape& shape, const SequenceSpan& sequence, Index query, Index rows) {
    const Index position = sequence.past + query;
    if (shape.window > 0) first = std::max<Index>(0, position + 1 - shape.window);
    count = position + rows - first;
  }
  /// How many of the first of them row i is too late for.
  Index too_old(const AttentionShape& shape, const SequenceSpan& sequence, Index query,
                Index i) const {
    if (shape.window == 0) return 0;
    return std::max<Index>(0, sequence.past + query + i + 1 - shape.window - first);
  }
};

/// Calls clear(part of row i) for what row i of scores must not see.
template <class Scores, class Clear>
void for_unseen(const AttentionShape& shape, const SequenceSpan& sequence, Index query,
                const VisibleKeys& keys, Scores& scores, Clear&& clear) {
  const Index rows = scores.rows();
  for (Index i = 0; i < rows; ++i) {
    clear(scores.row(i).tail(rows - 1 - i));
    if (const Index old = keys.too_old(shape, sequence, query, i); old > 0)
      clear(scores.row(i).head(old));
  }
}

/// Scaled scores of `rows` queries from `query` (within the sequence) for the keys that they may
/// see; what one of them does not see is -infinity. slope, if it is not null and the shape has a
/// cap: the cap's derivative at each score.
template <class T>
void causal_scores(const AttentionShape& shape, const ConstMatrixRef<T>& q,
                   const ConstMatrixRef<T>& k, const SequenceSpan& sequence, Index head,
                   Index query, Index rows, const VisibleKeys& keys, RowMatrix<T>& scores,
                   RowMatrix<T>* slope = nullptr) {
  const Index d = shape.head_width;
  scores.resize(rows, keys.count);
  const T scale = score_scale<T>(shape);
  scores.noalias() =
      scale * q.block(sequence.first_query + query, head * d, rows, d) *
      k.block(sequence.first_key + keys.first, head / shape.group() * d, keys.count, d).transpose();
  if (shape.soft_cap > 0) {
    const auto cap = static_cast<T>(shape.soft_cap);
    scores.array() = (scores.array() / cap).tanh();
    if (slope) *slope = T(1) - scores.array().square();
    scores *= cap;
  }
  for_unseen(shape, sequence, query, keys, scores,
             [](auto part) { part.setConstant(-std::numeric_limits<T>::infinity()); });
}

}  // namespace nn_detail

/// out and log_sums from q, k and v, overwritten. The sequences' queries are all rows of q in order; keys of
/// several sequences may overlap. Throws ShapeError where shapes or spans do not fit.
template <Scalar T>
void attention_forward(const AttentionShape& shape, const ConstMatrixRef<T>& q,
                       const ConstMatrixRef<T>& k, const ConstMatrixRef<T>& v,
                       std::span<const SequenceSpan> sequences, MatrixRef<T> out,
                       RowMatrix<T>& log_sums) {
  nn_detail::require_attention<T>(shape, q, k, v, sequences);
  require_shape("attention: out", out, q.rows(), q.cols());
  require_shape("attention: log_sums", log_sums, q.rows(), shape.heads);
  const Index d = shape.head_width;
  parallel_for(static_cast<Index>(sequences.size()) * shape.heads, [&](Index task) {
    const SequenceSpan& sequence = sequences[static_cast<std::size_t>(task / shape.heads)];
    const Index head = task % shape.heads;
    RowMatrix<T> scores;
    for (Index query = 0; query < sequence.queries; query += nn_detail::query_block) {
      const Index rows = std::min(nn_detail::query_block, sequence.queries - query);
      const nn_detail::VisibleKeys keys(shape, sequence, query, rows);
      nn_detail::causal_scores<T>(shape, q, k, sequence, head, query, rows, keys, scores);
      for (Index i = 0; i < rows; ++i) {
        const T largest = scores.row(i).maxCoeff();
        scores.row(i).array() = (scores.row(i).array() - largest).exp();
        scores.row(i).tail(rows - 1 - i).setZero();
        scores.row(i).head(keys.too_old(shape, sequence, query, i)).setZero();
        const T total = scores.row(i).sum();
        scores.row(i) /= total;
        log_sums(sequence.first_query + query + i, head) = largest + std::log(total);
      }
      out.block(sequence.first_query + query, head * d, rows, d).noalias() =
          scores *
          v.block(sequence.first_key + keys.first, head / shape.group() * d, keys.count, d);
    }
  });
}

/// Gradients of q, k and v from that of the output; they overwrite dq, dk and dv. No cache: every
/// sequence has past = 0 and keys of its own, in order. Throws ShapeError otherwise.
template <Scalar T>
void attention_backward(const AttentionShape& shape, const ConstMatrixRef<T>& q,
                        const ConstMatrixRef<T>& k, const ConstMatrixRef<T>& v,
                        const ConstMatrixRef<T>& out, const RowMatrix<T>& log_sums,
                        const ConstMatrixRef<T>& dout, std::span<const SequenceSpan> sequences,
                        RowMatrix<T>& dq, RowMatrix<T>& dk, RowMatrix<T>& dv) {
  nn_detail::require_attention<T>(shape, q, k, v, sequences);
  require_shape("attention: out", out, q.rows(), q.cols());
  require_shape("attention: dout", dout, q.rows(), q.cols());
  require_shape("attention: log_sums", log_sums, q.rows(), shape.heads);
  require_shape("attention: dq", dq, q.rows(), q.cols());
  require_shape("attention: dk", dk, k.rows(), k.cols());
  require_shape("attention: dv", dv, v.rows(), v.cols());
  Index next_key = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    require<ShapeError>(sequences[i].past == 0 && sequences[i].first_key >= next_key,
                        "attention: sequence ", i, ": expected keys of its own and no past for ",
                        "gradients, found a past of ", sequences[i].past, " and keys from row ",
                        sequences[i].first_key, " on");
    next_key = sequences[i].first_key + sequences[i].keys();
  }
  const Index d = shape.head_width;
  const T scale = nn_detail::score_scale<T>(shape);
  // One slice a query head, summed over the group afterwards: threads never share one.
  RowMatrix<T> dk_heads = RowMatrix<T>::Zero(k.rows(), shape.heads * d);
  RowMatrix<T> dv_heads = RowMatrix<T>::Zero(k.rows(), shape.heads * d);
  parallel_for(static_cast<Index>(sequences.size()) * shape.heads, [&](Index task) {
    const SequenceSpan& sequence = sequences[static_cast<std::size_t>(task / shape.heads)];
    const Index head = task % shape.heads, kv = head / shape.group() * d;
    RowMatrix<T> p, dp, slope;
    for (Index query = 0; query < sequence.queries; query += nn_detail::query_block) {
      const Index rows = std::min(nn_detail::query_block, sequence.queries - query);
      const Index row = sequence.first_query + query;
      const nn_detail::VisibleKeys keys(shape, sequence, query, rows);
      nn_detail::causal_scores<T>(shape, q, k, sequence, head, query, rows, keys, p, &slope);
      for (Index i = 0; i < rows; ++i)
        p.row(i).array() = (p.row(i).array() - log_sums(row + i, head)).exp();
      nn_detail::for_unseen(shape, sequence, query, keys, p, [](auto part) { part.setZero(); });
      const auto dy = dout.block(row, head * d, rows, d);
      const Index first = sequence.first_key + keys.first, visible = keys.count;
      dv_heads.block(first, head * d, visible, d).noalias() += p.transpose() * dy;
      dp.resize(rows, visible);
      dp.noalias() = dy * v.block(first, kv, visible, d).transpose();
      for (Index i = 0; i < rows; ++i) {
        const T mean = dy.row(i).dot(out.block(row + i, head * d, 1, d).row(0));
        p.row(i).array() *= (dp.row(i).array() - mean) * scale;
      }
      if (shape.soft_cap > 0) p.array() *= slope.array();
      dq.block(row, head * d, rows, d).noalias() = p * k.block(first, kv, visible, d);
      dk_heads.block(first, head * d, visible, d).noalias() +=
          p.transpose() * q.block(row, head * d, rows, d);
    }
  });
  dk.setZero();
  dv.setZero();
  for (Index head = 0; head < shape.heads; ++head) {
    dk.middleCols(head / shape.group() * d, d) += dk_heads.middleCols(head * d, d);
    dv.middleCols(head / shape.group() * d, d) += dv_heads.middleCols(head * d, d);
  }
}

}  // namespace qlora::inline QLORA_ABI
