/// Cross-entropy of the token or class that each row should predict.
///
/// Of a language model, over a tied or untied head, a chunk of positions at a time: all logits never
/// exist at once. `dhidden` has the shape of `hidden`.
///
///     auto sum = qlora::cross_entropy<float>(hidden, head, targets, 1.f / counted, &dhidden);
///
/// hidden: [tokens, width]; head: [vocabulary, width], packed, dense, or a DenseLinear that is
/// trained as well; targets[i] is the id that row i should predict, or `ignored`.
///
/// Of a network that ends in logits, [rows, classes]:
///
///     const auto loss = qlora::logits_cross_entropy(y, targets);
///     print(loss.mean(), loss.gradient);
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/token.hpp"
#include "qlora/nn/dense_linear.hpp"
#include "qlora/nn/linear.hpp"
#include "qlora/nn/token_loss.hpp"

namespace qlora::inline QLORA_ABI {

/// The loss of logits, with the gradient of its mean.
template <Scalar T>
struct LogitsLoss : CrossEntropy {
  RowMatrix<T> gradient;  ///< of the mean, [rows, classes]; rows that do not count are 0
  Index correct = 0;      ///< counted rows whose largest logit is that of the target
};

/// What happens to logits between the head and the softmax: scale times them, then, where soft_cap
/// is not 0, c tanh(logit / c) with the cap c. A plain value.
struct LogitSettings {
  double scale = 1, soft_cap = 0;

  /// Changes logits in place; `slope`, unless it is null, becomes the derivative at each, or empty
  /// where it is the scale throughout.
  template <Scalar T>
  void apply(RowMatrix<T>& logits, RowMatrix<T>* slope = nullptr) const {
    if (scale != 1) logits *= static_cast<T>(scale);
    if (slope) slope->resize(0, 0);
    if (soft_cap == 0) return;
    const auto cap = static_cast<T>(soft_cap);
    logits.array() = (logits.array() / cap).tanh();
    if (slope) *slope = T(1) - logits.array().square();
    logits *= cap;
  }
  /// Turns the gradient of changed logits into that of the head's.
  template <Scalar T>
  void apply_backward(RowMatrix<T>& dlogits, const RowMatrix<T>& slope) const {
    if (slope.size() > 0) dlogits.array() *= slope.array();
    if (scale != 1) dlogits *= static_cast<T>(scale);
  }
};

namespace nn_detail {

/// The rows that have a target. Throws ShapeError for targets of another number or outside of the
/// `classes`.
inline std::vector<Index> counted_rows(std::span<const Token> targets, Index rows, Index classes) {
  require<ShapeError>(static_cast<Index>(targets.size()) == rows, "cross_entropy: expected ", rows,
                      " targets, found ", targets.size());
  std::vector<Index> counted;
  for (Index i = 0; i < rows; ++i) {
    const Token target = targets[static_cast<std::size_t>(i)];
    require<ShapeError>(target == ignored || (target >= 0 && target < classes),
                        "cross_entropy: position ", i, ": expected a target below ", classes,
                        ", found ", target);
    if (target != ignored) counted.push_back(i);
  }
  return counted;
}

/// Adds to `sum` the losses of `count` rows of logits, row i against targets[rows[i]]; the logits
/// become exponentials, or with `gradient` their gradients times `scale`.
template <Scalar T>
void add_softmax_loss(RowMatrix<T>& logits, std::span<const Token> targets, const Index* rows,
                      Index count, T scale, bool gradient, double& sum) {
  std::vector<double> losses(static_cast<std::size_t>(count));
  parallel_for(count, [&](Index i) {
    auto row = logits.row(i);
    const Index target = targets[static_cast<std::size_t>(rows[i])];
    const T largest = row.maxCoeff();
    const T target_logit = row(target);
    row.array() = (row.array() - largest).exp();
    const T total = row.sum();
    losses[static_cast<std::size_t>(i)] = std::log(static_cast<double>(total)) +
                                          static_cast<double>(largest) -
                                          static_cast<double>(target_logit);
    if (gradient) {
      row *= scale / total;
      row(target) -= scale;
    }
  });
  for (const double loss : losses) sum += loss;
}

inline constexpr Index cross_entropy_chunk = 64;

/// The loss in chunks. `forward(x, logits)` makes logits; `backward(x, dlogits, dx)` is called for
/// gradients, if dhidden is not null.
template <Scalar T, class Forward, class Backward>
CrossEntropy chunked_cross_entropy(const RowMatrix<T>& hidden, Index classes,
                                   std::span<const Token> targets, T scale, RowMatrix<T>* dhidden,
                                   Forward&& forward, Backward&& backward,
                                   const LogitSettings& settings = {}) {
  const std::vector<Index> rows = counted_rows(targets, hidden.rows(), classes);
  if (dhidden) {
    require_shape("cross_entropy: dhidden", *dhidden, hidden.rows(), hidden.cols());
    dhidden->setZero();
  }
  CrossEntropy result{0, static_cast<Index>(rows.size())};
  RowMatrix<T> x, logits, dx, slope;
  for (Index begin = 0; begin < result.counted; begin += cross_entropy_chunk) {
    const Index count = std::min(cross_entropy_chunk, result.counted - begin);
    const Index* const chosen = rows.data() + begin;
    x.resize(count, hidden.cols());
    for (Index i = 0; i < count; ++i) x.row(i) = hidden.row(chosen[i]);
    logits.resize(count, classes);
    forward(x, logits);
    settings.apply(logits, dhidden ? &slope : nullptr);
    add_softmax_loss<T>(logits, targets, chosen, count, scale, dhidden != nullptr, result.sum);
    if (!dhidden) continue;
    settings.apply_backward(logits, slope);
    dx.resize(count, hidden.cols());
    backward(x, logits, dx);
    for (Index i = 0; i < count; ++i) dhidden->row(chosen[i]) = dx.row(i);
  }
  return result;
}

}  // namespace nn_detail

/// The summed loss; with `dhidden` not null also its gradient times `scale` ([tokens, width],
/// overwritten, rows that do not count are 0). Throws ShapeError for targets outside of the head or
/// of another number than rows, and for a dhidden of another shape than hidden.
template <Scalar T, class Head>
CrossEntropy cross_entropy(const RowMatrix<T>& hidden, const Head& head,
                           std::span<const Token> targets, T scale, RowMatrix<T>* dhidden,
                           Compute compute = Compute::float32, const LogitSettings& settings = {}) {
  static_assert(
      LinearBase<Head, T>,
      "cross_entropy: the head must be a QuantizedMatrix, a RowMatrix or an AnyLinear, or "
      "a DenseLinear that is not const, for it is trained");
  return nn_detail::chunked_cross_entropy<T>(
      hidden, head.rows(), targets, scale, dhidden,
      [&](const RowMatrix<T>& x, RowMatrix<T>& logits) {
        linear_forward<T>(x, head, logits, {.compute = compute});
      },
      [&](const RowMatrix<T>&, const RowMatrix<T>& dlogits, RowMatrix<T>& dx) {
        linear_backward<T>(dlogits, head, dx, {.compute = compute});
      },
      settings);
}

/// The same with a head that is trained: where dhidden is not null, the gradients of its weight and
/// its bias, times `scale`, are added to its own.
template <Scalar T>
CrossEntropy cross_entropy(const RowMatrix<T>& hidden, DenseLinear<T>& head,
                           std::span<const Token> targets, T scale, RowMatrix<T>* dhidden) {
  return nn_detail::chunked_cross_entropy<T>(
      hidden, head.rows(), targets, scale, dhidden,
      [&](const RowMatrix<T>& x, RowMatrix<T>& logits) { head.forward(x, logits); },
      [&](const RowMatrix<T>& x, const RowMatrix<T>& dlogits, RowMatrix<T>& dx) {
        head.backward(x, dlogits, dx);
      });
}

/// The loss of logits [rows, classes] that are there as a whole, the gradient of its mean, and how
/// many rows are right. Throws ShapeError for targets outside of the classes or of another number
/// than rows.
template <Scalar T>
LogitsLoss<T> logits_cross_entropy(const RowMatrix<T>& logits, std::span<const Token> targets) {
  const std::vector<Index> rows = nn_detail::counted_rows(targets, logits.rows(), logits.cols());
  LogitsLoss<T> result;
  result.counted = static_cast<Index>(rows.size());
  RowMatrix<T> chosen(result.counted, logits.cols());
  for (Index i = 0; i < result.counted; ++i) {
    const Index row = rows[static_cast<std::size_t>(i)];
    chosen.row(i) = logits.row(row);
    Index best = 0;
    chosen.row(i).maxCoeff(&best);
    result.correct += best == targets[static_cast<std::size_t>(row)] ? 1 : 0;
  }
  const T scale = T(1) / static_cast<T>(std::max<Index>(1, result.counted));
  nn_detail::add_softmax_loss<T>(chosen, targets, rows.data(), result.counted, scale, true,
                                 result.sum);
  result.gradient = RowMatrix<T>::Zero(logits.rows(), logits.cols());
  for (Index i = 0; i < result.counted; ++i)
    result.gradient.row(rows[static_cast<std::size_t>(i)]) = chosen.row(i);
  return result;
}

}  // namespace qlora::inline QLORA_ABI
