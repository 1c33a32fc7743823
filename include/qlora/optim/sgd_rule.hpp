/// The update rule of stochastic gradient descent with momentum, as in torch and bitsandbytes.
///
/// g += wd p; m = mu m + g; p -= lr m, where m is 0 before the first update. Here lr is
/// learning_rate, wd is weight_decay, and mu is momentum.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/optim/rule.hpp"

namespace qlora::inline QLORA_ABI {

/// An UpdateRule with one state per element, the momentum m. Several threads may use one object,
/// which holds nothing.
struct SgdRule {
  /// The settings of one group of parameters.
  struct Options {
    double learning_rate = 1e-2;
    double momentum = 0.9;
    double weight_decay = 0;
  };
  static constexpr const char* name = "sgd";
  static constexpr int states = 1;
  static constexpr bool is_signed[] = {true};

  /// One update with its coefficients in T; s[0] is m, which starts at zero.
  template <class T>
  struct Step {
    T rate, momentum, weight_decay;

    template <class Numbers>
    [[gnu::always_inline]] QLORA_HD void operator()(Numbers& p, Numbers& g, Numbers* s) const {
      optim_detail::decay_gradient(g, p, weight_decay);
      s[0] = momentum * s[0] + g;
      p -= rate * s[0];
    }
  };

  /// The step that makes an update. It is the same for every t.
  template <class T>
  Step<T> step(const Options& options, Index) const {
    return {.rate = static_cast<T>(options.learning_rate),
            .momentum = static_cast<T>(options.momentum),
            .weight_decay = static_cast<T>(options.weight_decay)};
  }
};

}  // namespace qlora::inline QLORA_ABI
