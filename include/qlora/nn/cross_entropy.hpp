/// Next-token cross-entropy over a tied or untied head, a chunk of positions at a time: all logits
/// never exist at once.
///
///     auto sum = qlora::cross_entropy<float>(hidden, head, targets, 1.f / counted, &dhidden);
///
/// hidden: [tokens, width]; head: [vocabulary, width], packed or dense; targets[i] is the id that
/// row i should predict, or `ignored`.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "qlora/core/token.hpp"
#include "qlora/nn/linear.hpp"
#include "qlora/nn/token_loss.hpp"

namespace qlora {

/// The summed loss; with `dhidden` not null also its gradient times `scale` ([tokens, width], rows
/// that do not count are 0).
template <Scalar T, class Head>
CrossEntropy cross_entropy(const RowMatrix<T>& hidden, const Head& head,
                           std::span<const Token> targets, T scale, RowMatrix<T>* dhidden,
                           Compute compute = Compute::float32) {
  require<ShapeError>(static_cast<Index>(targets.size()) == hidden.rows(),
                      "cross_entropy: expected ", hidden.rows(), " targets, found ",
                      targets.size());
  constexpr Index chunk = 64;
  std::vector<Index> rows;
  for (Index i = 0; i < hidden.rows(); ++i) {
    const Token target = targets[static_cast<std::size_t>(i)];
    require<ShapeError>(target == ignored || (target >= 0 && target < head.rows()),
                        "cross_entropy: position ", i, ": expected a target below ", head.rows(),
                        ", found ", target);
    if (target != ignored) rows.push_back(i);
  }
  if (dhidden) dhidden->setZero(hidden.rows(), hidden.cols());
  CrossEntropy result{0, static_cast<Index>(rows.size())};
  RowMatrix<T> x, logits, dx;
  std::vector<double> losses(static_cast<std::size_t>(chunk));
  for (Index begin = 0; begin < result.counted; begin += chunk) {
    const Index count = std::min(chunk, result.counted - begin);
    x.resize(count, hidden.cols());
    for (Index i = 0; i < count; ++i)
      x.row(i) = hidden.row(rows[static_cast<std::size_t>(begin + i)]);
    logits.resize(count, head.rows());
    linear_forward<T>(x, head, logits, {.compute = compute});
    parallel_for(count, [&](Index i) {
      auto row = logits.row(i);
      const Index target =
          targets[static_cast<std::size_t>(rows[static_cast<std::size_t>(begin + i)])];
      const T largest = row.maxCoeff();
      const T target_logit = row(target);
      row.array() = (row.array() - largest).exp();
      const T total = row.sum();
      losses[static_cast<std::size_t>(i)] = std::log(static_cast<double>(total)) +
                                            static_cast<double>(largest) -
                                            static_cast<double>(target_logit);
      if (dhidden) {
        row *= scale / total;
        row(target) -= scale;
      }
    });
    for (Index i = 0; i < count; ++i) result.sum += losses[static_cast<std::size_t>(i)];
    if (!dhidden) continue;
    dx.resize(count, hidden.cols());
    linear_backward<T>(logits, head, dx, {.compute = compute});
    for (Index i = 0; i < count; ++i)
      dhidden->row(rows[static_cast<std::size_t>(begin + i)]) = dx.row(i);
  }
  return result;
}

}  // namespace qlora
