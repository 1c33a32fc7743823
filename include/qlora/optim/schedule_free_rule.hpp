/// The update rule of schedule-free AdamW: no learning-rate schedule, but an average of the
/// iterates. Defazio et al. 2024, algorithm 1.
///
/// Parameters hold y = (1 - b1) z + b1 x while training; z is the sequence that the gradient moves,
/// x its average, which is what to evaluate. With c the share of the newest iterate in the average:
/// v = b2 v + (1 - b2) g²; d = g / (sqrt(v) + eps) + wd y; y = (1 - c) y + c z - lr (1 - b1 (1 -
/// c)) d; z -= lr d, where lr is learning_rate sqrt(1 - b2^t) and c its square over the sum of all
/// so far.
#pragma once

#include <algorithm>
#include <cmath>

#include "qlora/core/error.hpp"
#include "qlora/optim/rule.hpp"

namespace qlora {

struct ScheduleFreeAdamWRule {
  struct Options {
    double learning_rate = 2.5e-3;
    double beta1 = 0.9, beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0;
  };
  static constexpr const char* name = "schedule-free-adamw";
  static constexpr int states = 2;
  static constexpr bool is_signed[] = {true, false};
  static constexpr bool is_exact[] = {true, false};
  static constexpr int iterate = 0;

  double largest_rate = 0, weights = 0;
  double beta1 = 0;  // of the steps so far; 0 before the first

  /// One update; y is the parameters, s[0] is z and s[1] is v.
  template <class T>
  struct Step {
    bool first;
    T c, lr, toward, epsilon, weight_decay, b2, r2;

    template <class Numbers>
    [[gnu::always_inline]] QLORA_HD void operator()(Numbers& y, Numbers& g, Numbers* s) const {
      if (first) s[0] = y;
      s[1] = b2 * s[1] + r2 * (g * g);
      g /= detail::square_root(s[1]) + epsilon;
      detail::decay_gradient(g, y, weight_decay);
      y += c * (s[0] - y) + toward * g;
      s[0] -= lr * g;
    }
  };

  /// Throws FormatError for a beta1 that gives no average, or another than in the steps before.
  template <class T>
  Step<T> step(const Options& options, Index t) {
    require<FormatError>(options.beta1 > 0 && options.beta1 < 1,
                         "schedule-free: expected a beta1 between 0 and 1, found ", options.beta1);
    require<FormatError>(t == 1 || options.beta1 == beta1,
                         "schedule-free: expected the beta1 of the steps before, ", beta1,
                         ", found ", options.beta1);
    beta1 = options.beta1;
    const double rate =
        options.learning_rate * std::sqrt(1 - std::pow(options.beta2, static_cast<double>(t)));
    largest_rate = std::max(largest_rate, rate);
    const double weight = largest_rate * largest_rate;
    weights += weight;
    const double share = weights > 0 ? weight / weights : 0;
    return {.first = t == 1,
            .c = static_cast<T>(share),
            .lr = static_cast<T>(rate),
            .toward = static_cast<T>(rate * (options.beta1 * (1 - share) - 1)),
            .epsilon = static_cast<T>(options.epsilon),
            .weight_decay = static_cast<T>(options.weight_decay),
            .b2 = static_cast<T>(options.beta2),
            .r2 = static_cast<T>(1 - options.beta2)};
  }

  double share_to_average() const { return 1 - 1 / beta1; }
  double share_to_iterate() const { return 1 - beta1; }
};

}  // namespace qlora
