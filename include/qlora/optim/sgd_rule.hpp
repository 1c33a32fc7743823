/// The update rule of stochastic gradient descent with momentum, as torch and bitsandbytes do it.
///
/// g += wd p; m = g in the first step, mu m + g after; p -= lr m.
#pragma once

#include "qlora/optim/rule.hpp"

namespace qlora {

struct SgdRule {
  struct Options {
    double learning_rate = 1e-2;
    double momentum = 0.9;
    double weight_decay = 0;
  };
  static constexpr const char* name = "sgd";
  static constexpr int states = 1;
  static constexpr bool is_signed[] = {true};

  /// One update; s[0] is m, which starts at zero.
  template <class T>
  struct Step {
    T rate, momentum, weight_decay;

    template <class Numbers>
    [[gnu::always_inline]] QLORA_HD void operator()(Numbers& p, Numbers& g, Numbers* s) const {
      detail::decay_gradient(g, p, weight_decay);
      s[0] = momentum * s[0] + g;
      p -= rate * s[0];
    }
  };

  template <class T>
  Step<T> step(const Options& options, Index) const {
    return {.rate = static_cast<T>(options.learning_rate),
            .momentum = static_cast<T>(options.momentum),
            .weight_decay = static_cast<T>(options.weight_decay)};
  }
};

}  // namespace qlora
