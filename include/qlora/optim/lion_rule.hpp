/// The update rule of Lion: the sign of an average of momentum and gradient. Chen et al. 2023.
///
/// p *= 1 - lr wd; p -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g.
#pragma once

#include "qlora/optim/rule.hpp"

namespace qlora {

struct LionRule {
  struct Options {
    double learning_rate = 1e-4;
    double beta1 = 0.9, beta2 = 0.99;
    double weight_decay = 0;
  };
  static constexpr const char* name = "lion";
  static constexpr int states = 1;
  static constexpr bool is_signed[] = {true};

  /// One update; s[0] is m.
  template <class T>
  struct Step {
    T rate, weight_decay, b1, b2, r1, r2;

    template <class Numbers>
    [[gnu::always_inline]] QLORA_HD void operator()(Numbers& p, Numbers& g, Numbers* s) const {
      detail::decay_parameters(p, rate, weight_decay);
      p -= rate * detail::sign(b1 * s[0] + r1 * g);
      s[0] = b2 * s[0] + r2 * g;
    }
  };

  template <class T>
  Step<T> step(const Options& options, Index) const {
    return {.rate = static_cast<T>(options.learning_rate),
            .weight_decay = static_cast<T>(options.weight_decay),
            .b1 = static_cast<T>(options.beta1),
            .b2 = static_cast<T>(options.beta2),
            .r1 = static_cast<T>(1 - options.beta1),
            .r2 = static_cast<T>(1 - options.beta2)};
  }
};

}  // namespace qlora
