/// The update rule of Lion (Chen et al. 2023), which steps by the sign of an average of momentum
/// and gradient.
///
/// p *= 1 - lr wd; p -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g. Here lr is
/// learning_rate, wd is weight_decay, and b1 and b2 are beta1 and beta2.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/optim/rule.hpp"

namespace qlora::inline QLORA_ABI {

/// An UpdateRule with one state per element, the momentum m. Several threads may use one object,
/// which holds nothing.
struct LionRule {
  /// The settings of one group of parameters.
  struct Options {
    double learning_rate = 1e-4;
    double beta1 = 0.9, beta2 = 0.99;
    double weight_decay = 0;
  };
  static constexpr const char* name = "lion";
  static constexpr int states = 1;
  static constexpr bool is_signed[] = {true};

  /// One update with its coefficients in T; s[0] is m.
  template <class T>
  struct Step {
    T rate, weight_decay, b1, b2, r1, r2;

    template <class Numbers>
    [[gnu::always_inline]] QLORA_HD void operator()(Numbers& p, Numbers& g, Numbers* s) const {
      optim_detail::decay_parameters(p, rate, weight_decay);
      p -= rate * optim_detail::sign(b1 * s[0] + r1 * g);
      s[0] = b2 * s[0] + r2 * g;
    }
  };

  /// The step that makes an update. It is the same for every t.
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

}  // namespace qlora::inline QLORA_ABI
