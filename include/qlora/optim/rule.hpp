/// What an update rule is: how parameters move along their gradient, element by element.
///
/// A rule names its `Options` (with learning_rate and weight_decay), how many numbers of state an
/// element has and which of them may be negative, and makes a `Step` for the t-th update, which
/// works on Eigen arrays of parameters p, gradients g (a copy it may change) and states s[...].
/// What a rule remembers besides is a member of it and changes in `step`. Each group of parameters
/// has a rule of its own, which is asked for one step an update.
///
/// A rule may say by `is_exact` which states are kept in full precision whatever the others are in,
/// and by `iterate`, `share_to_average` and `share_to_iterate` that it trains at another point than
/// the one to evaluate: see AveragingRule.
#pragma once

#include <Eigen/Core>
#include <concepts>

#include "qlora/core/config.hpp"

namespace qlora {

/// A run of numbers as an Eigen array.
template <class T>
using Run = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;

template <class R>
concept UpdateRule = requires(R& rule, const typename R::Options& options, Index t) {
  { R::states } -> std::convertible_to<int>;
  { R::is_signed[0] } -> std::convertible_to<bool>;
  { options.learning_rate } -> std::convertible_to<double>;
  { options.weight_decay } -> std::convertible_to<double>;
  rule.template step<float>(options, t);
};

/// A rule whose parameters are one point while training and another, an average, to evaluate and to
/// save. Either is p + share (s[iterate] - p) of the other.
template <class R>
concept AveragingRule = UpdateRule<R> && requires(const R& rule) {
  { R::iterate } -> std::convertible_to<int>;
  { rule.share_to_average() } -> std::convertible_to<double>;
  { rule.share_to_iterate() } -> std::convertible_to<double>;
};

/// Whether weight decay acts on the parameters (as in AdamW) or is added to the gradient.
enum class Decay { decoupled, coupled };

namespace detail {

/// Whether a rule wants state `s` in full precision.
template <UpdateRule Rule>
constexpr bool is_exact([[maybe_unused]] int s) {
  if constexpr (requires { Rule::is_exact[0]; }) {
    return Rule::is_exact[s];
  } else {
    return false;
  }
}

template <class T>
void decay_gradient(Run<T>& g, const Run<T>& p, T weight_decay) {
  if (weight_decay != T(0)) g += weight_decay * p;
}
template <class T>
void decay_parameters(Run<T>& p, T learning_rate, T weight_decay) {
  if (weight_decay != T(0)) p *= T(1) - learning_rate * weight_decay;
}

}  // namespace detail
}  // namespace qlora
