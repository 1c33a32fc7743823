/// The update rules of Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), as torch
/// computes them. The CUDA kernels of bitsandbytes apply AdamW's weight decay after the update
/// instead of before it.
///
/// AdamW begins with p *= 1 - lr wd, and Adam begins with g += wd p. Both go on with
/// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²; p -= lr c2 / c1 * m / (sqrt(v) + eps c2), where
/// c1 = 1 - b1^t and c2 = sqrt(1 - b2^t). Here lr is learning_rate, wd is weight_decay, b1 and b2
/// are beta1 and beta2, eps is epsilon, and t counts the updates from 1.
#pragma once

#include <cmath>

#include "qlora/core/config.hpp"
#include "qlora/optim/rule.hpp"

namespace qlora::inline QLORA_ABI {

/// An UpdateRule with two states per element, the moments m and v. Decay::decoupled makes it AdamW,
/// and Decay::coupled makes it Adam. Several threads may use one object, which holds nothing.
template <Decay decay>
struct AdamRule {
  /// The settings of one group of parameters.
  struct Options {
    double learning_rate = 2e-4;
    double beta1 = 0.9, beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0;
  };
  static constexpr const char* name = decay == Decay::decoupled ? "adamw" : "adam";
  static constexpr int states = 2;
  static constexpr bool is_signed[] = {true, false};

  /// One update with its coefficients in T; s[0] is m and s[1] is v.
  template <class T>
  struct Step {
    T shrink, weight_decay, rate, epsilon, b1, b2, r1, r2;

    template <class Numbers>
    [[gnu::always_inline]] QLORA_HD void operator()(Numbers& p, Numbers& g, Numbers* s) const {
      if constexpr (decay == Decay::coupled) optim_detail::decay_gradient(g, p, weight_decay);
      s[0] = b1 * s[0] + r1 * g;
      s[1] = b2 * s[1] + r2 * (g * g);
      if constexpr (decay == Decay::decoupled) {
        p = shrink * p + rate * s[0] / (optim_detail::square_root(s[1]) + epsilon);
      } else {
        p += rate * s[0] / (optim_detail::square_root(s[1]) + epsilon);
      }
    }
  };

  /// The step that makes the t-th update; t starts at 1. The bias corrections c1 and c2 are
  /// computed in double and rounded to T.
  template <class T>
  Step<T> step(const Options& options, Index t) const {
    const auto steps = static_cast<double>(t);
    const double c1 = 1 - std::pow(options.beta1, steps);
    const double c2 = std::sqrt(1 - std::pow(options.beta2, steps));
    return {.shrink = static_cast<T>(1 - options.learning_rate * options.weight_decay),
            .weight_decay = static_cast<T>(options.weight_decay),
            .rate = static_cast<T>(-options.learning_rate * c2 / c1),
            .epsilon = static_cast<T>(options.epsilon * c2),
            .b1 = static_cast<T>(options.beta1),
            .b2 = static_cast<T>(options.beta2),
            .r1 = static_cast<T>(1 - options.beta1),
            .r2 = static_cast<T>(1 - options.beta2)};
  }
};

/// The rule of AdamW and its options.
using AdamWRule = AdamRule<Decay::decoupled>;
using AdamWOptions = AdamWRule::Options;

}  // namespace qlora::inline QLORA_ABI
