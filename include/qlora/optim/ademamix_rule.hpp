/// The update rule of AdEMAMix: AdamW with a second, slow average of the gradient. Pagliardini et
/// al. 2024.
///
/// m = b1 m + (1 - b1) g; n = b3 n + (1 - b3) g; v = b2 v + (1 - b2) g²;
/// p -= lr ((m / c1 + alpha n) / (sqrt(v) / c2 + eps) + wd p), where c1 = 1 - b1^t and
/// c2 = sqrt(1 - b2^t). Here lr is learning_rate, wd is weight_decay, b1 to b3 are beta1 to beta3,
/// eps is epsilon, and t counts the updates from 1.
///
/// Over the first `warmup` updates alpha rises linearly from 0. In the same time b3 rises from b1
/// in such a way that the half-life of n grows linearly.
#pragma once

#include <algorithm>
#include <cmath>

#include "qlora/core/config.hpp"
#include "qlora/optim/rule.hpp"

namespace qlora::inline QLORA_ABI {

/// An UpdateRule with three states per element: the averages m, n and v. Several threads may use
/// one object, which holds nothing.
struct AdemamixRule {
  /// The settings of one group of parameters.
  struct Options {
    double learning_rate = 1e-3;
    double beta1 = 0.9, beta2 = 0.999, beta3 = 0.9999;
    double alpha = 5;
    Index warmup = 0;  ///< updates until alpha and beta3 reach their values
    double epsilon = 1e-8;
    double weight_decay = 0;
  };
  static constexpr const char* name = "ademamix";
  static constexpr int states = 3;
  static constexpr bool is_signed[] = {true, true, false};

  /// One update with its coefficients in T; s[0] is m, s[1] is n and s[2] is v.
  template <class T>
  struct Step {
    T rate, weight_decay, epsilon, alpha, c1, c2, b1, r1, b2, r2, b3, r3;

    template <class Numbers>
    [[gnu::always_inline]] QLORA_HD void operator()(Numbers& p, Numbers& g, Numbers* s) const {
      s[0] = b1 * s[0] + r1 * g;
      s[1] = b3 * s[1] + r3 * g;
      s[2] = b2 * s[2] + r2 * (g * g);
      p -= rate * ((s[0] / c1 + alpha * s[1]) / (optim_detail::square_root(s[2]) / c2 + epsilon) +
                   weight_decay * p);
    }
  };

  /// The step that makes the t-th update; t starts at 1. The coefficients are computed in double
  /// and rounded to T.
  template <class T>
  Step<T> step(const Options& options, Index t) const {
    const auto steps = static_cast<double>(t);
    const double share =
        options.warmup > 0 ? std::min(1.0, steps / static_cast<double>(options.warmup)) : 1.0;
    double slow = options.beta3;
    if (share < 1) {
      const double from = std::log(options.beta1), to = std::log(options.beta3);
      slow = std::min(std::exp(from * to / ((1 - share) * to + share * from)), options.beta3);
    }
    return {.rate = static_cast<T>(options.learning_rate),
            .weight_decay = static_cast<T>(options.weight_decay),
            .epsilon = static_cast<T>(options.epsilon),
            .alpha = static_cast<T>(share * options.alpha),
            .c1 = static_cast<T>(1 - std::pow(options.beta1, steps)),
            .c2 = static_cast<T>(std::sqrt(1 - std::pow(options.beta2, steps))),
            .b1 = static_cast<T>(options.beta1),
            .r1 = static_cast<T>(1 - options.beta1),
            .b2 = static_cast<T>(options.beta2),
            .r2 = static_cast<T>(1 - options.beta2),
            .b3 = static_cast<T>(slow),
            .r3 = static_cast<T>(1 - slow)};
  }
};

}  // namespace qlora::inline QLORA_ABI
