/// A rule names its `Options` (with learning_rate and weight_decay), how many numbers of state an
/// element has and which of them may be negative, and makes a `Step` for the t-th update. What a
/// rule remembers besides is a member of it and changes in `step`. Each group of parameters has a
/// rule of its own, which is asked for one step an update.
///
/// A step is called with parameters p, gradients g (a copy that it may change) and states s[...],
/// and writes p and s. They are single numbers, or Eigen arrays of them, which the CPU updates by
/// vectors: a formula is written once, as in `p -= rate * s[0] / (square_root(s[1]) + epsilon)`, and
/// serves the CPU's optimizers (optim/optimizer.hpp) and kernels (cuda/optimizer.hpp). The rules
/// here ask to be inlined: otherwise compilers read the places of the arrays again after every
/// store, which took a third of AdamW's instructions.
///
/// A rule may say by `is_exact` which states are kept in full precision whatever the others are in,
/// and by `iterate`, `share_to_average` and `share_to_iterate` that it trains at another point than
/// the one to evaluate: see AveragingRule.
#pragma once

#include <cmath>
#include <concepts>
#include <type_traits>
#include <utility>

#include "qlora/core/config.hpp"

namespace qlora {

/// A type with what is listed above. `step` is asked for float here, and for the parameters' type
/// where it is used.
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

/// What a rule makes for one update of parameters of type T.
template <UpdateRule Rule, class T>
using StepOf = decltype(std::declval<Rule&>().template step<T>(
    std::declval<const typename Rule::Options&>(), Index{1}));

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

// Of numbers and arrays: the members of Eigen's arrays are there for devices too, its functions of
// these names are not.
template <class Numbers>
QLORA_HD auto square_root(const Numbers& x) {
  if constexpr (std::is_floating_point_v<Numbers>) {
    return std::sqrt(x);
  } else {
    return x.sqrt();
  }
}
/// -1, 0 or 1.
template <class Numbers>
QLORA_HD auto sign(const Numbers& x) {
  if constexpr (std::is_floating_point_v<Numbers>) {
    return static_cast<Numbers>(x > 0) - static_cast<Numbers>(x < 0);
  } else {
    return x.sign();
  }
}

template <class Numbers, class T>
QLORA_HD void decay_gradient(Numbers& g, const Numbers& p, T weight_decay) {
  if (weight_decay != T(0)) g += weight_decay * p;
}
template <class Numbers, class T>
QLORA_HD void decay_parameters(Numbers& p, T learning_rate, T weight_decay) {
  if (weight_decay != T(0)) p *= T(1) - learning_rate * weight_decay;
}

}  // namespace detail
}  // namespace qlora
