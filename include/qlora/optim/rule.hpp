/// What an update rule is: the formula of an optimizer, without memory, groups or threads.
///
/// A rule has a type `Options` (with learning_rate and weight_decay). It says how many states an
/// element has (`states`) and which of them may be negative (`is_signed`). Its function `step`
/// makes a `Step` for the t-th update. If a rule remembers more than states, that is a data member
/// of it, which `step` changes. Each group of parameters has a rule of its own, and `step` is
/// called once per update.
///
/// A Step is called with parameters p, gradients g (a copy that it may change) and states s[...],
/// and writes p and s. They are single numbers on a device, and Eigen arrays of numbers on the CPU.
/// So a formula is written once, as in `p -= rate * s[0] / (square_root(s[1]) + epsilon)`, for the
/// CPU's optimizers (optim/optimizer.hpp) and for kernels (cuda/optimizer.hpp). The steps here are
/// always inlined: otherwise compilers load the addresses of the arrays again after every store,
/// which took a third of AdamW's instructions.
///
/// A rule may have an array `is_exact`, which says which states are kept in full precision whatever
/// type the others have. A rule that trains at another point than the one to evaluate has
/// `iterate`, `share_to_average` and `share_to_iterate`: see AveragingRule.
#pragma once

#include <cmath>
#include <concepts>
#include <type_traits>
#include <utility>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// A type with the members that are listed above. The concept asks for steps of float; an optimizer
/// of other numbers needs steps of those.
template <class R>
concept UpdateRule = requires(R& rule, const typename R::Options& options, Index t) {
  { R::states } -> std::convertible_to<int>;
  { R::is_signed[0] } -> std::convertible_to<bool>;
  { options.learning_rate } -> std::convertible_to<double>;
  { options.weight_decay } -> std::convertible_to<double>;
  rule.template step<float>(options, t);
};

/// A rule that trains at one point and evaluates and saves another one, an average. Each of the two
/// points is p + share (s[iterate] - p), where p is the other one: the share is share_to_average()
/// on the way to the average, and share_to_iterate() on the way back.
template <class R>
concept AveragingRule = UpdateRule<R> && requires(const R& rule) {
  { R::iterate } -> std::convertible_to<int>;
  { rule.share_to_average() } -> std::convertible_to<double>;
  { rule.share_to_iterate() } -> std::convertible_to<double>;
};

/// The type of the Step that a rule makes for parameters of type T.
template <UpdateRule Rule, class T>
using StepOf = decltype(std::declval<Rule&>().template step<T>(
    std::declval<const typename Rule::Options&>(), Index{1}));

/// How weight decay acts: `decoupled` shrinks the parameters (as in AdamW), `coupled` adds to the
/// gradient (as in Adam).
enum class Decay { decoupled, coupled };

namespace optim_detail {

/// Whether a rule wants state `s` in full precision.
template <UpdateRule Rule>
constexpr bool is_exact([[maybe_unused]] int s) {
  if constexpr (requires { Rule::is_exact[0]; }) {
    return Rule::is_exact[s];
  } else {
    return false;
  }
}

// These functions take numbers and arrays. They call members of Eigen's arrays, which device code
// has; it does not have Eigen's free functions of these names.
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

}  // namespace optim_detail
}  // namespace qlora::inline QLORA_ABI
