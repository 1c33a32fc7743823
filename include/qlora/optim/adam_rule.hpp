/// The update rules of Adam and AdamW, with the updates of bitsandbytes and torch. Kingma and Ba
/// 2015; Loshchilov and Hutter 2019.
///
/// AdamW: p *= 1 - lr wd; Adam: g += wd p. Then m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²;
/// p -= lr c2 / c1 * m / (sqrt(v) + eps c2) with c1 = 1 - b1^t and c2 = sqrt(1 - b2^t).
#pragma once

#include <cmath>

#include "qlora/optim/rule.hpp"

namespace qlora {

template <Decay decay>
struct AdamRule {
  struct Options {
    double learning_rate = 2e-4;
    double beta1 = 0.9, beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0;
  };
  static constexpr const char* name = decay == Decay::decoupled ? "adamw" : "adam";
  static constexpr int states = 2;
  static constexpr bool is_signed[] = {true, false};

  /// One update; s[0] is m and s[1] is v.
  template <class T>
  struct Step {
    T shrink, weight_decay, rate, epsilon, b1, b2, r1, r2;

    template <class Numbers>
    [[gnu::always_inline]] QLORA_HD void operator()(Numbers& p, Numbers& g, Numbers* s) const {
      if constexpr (decay == Decay::coupled) detail::decay_gradient(g, p, weight_decay);
      s[0] = b1 * s[0] + r1 * g;
      s[1] = b2 * s[1] + r2 * (g * g);
      if constexpr (decay == Decay::decoupled) {
        p = shrink * p + rate * s[0] / (detail::square_root(s[1]) + epsilon);
      } else {
        p += rate * s[0] / (detail::square_root(s[1]) + epsilon);
      }
    }
  };

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

using AdamWRule = AdamRule<Decay::decoupled>;
using AdamWOptions = AdamWRule::Options;

}  // namespace qlora
