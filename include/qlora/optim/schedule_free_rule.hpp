/// The update rule of schedule-free AdamW, which averages its iterates instead of lowering the
/// learning rate. Defazio et al. 2024, algorithm 1.
///
/// The gradient moves the iterate z. The point to evaluate is x, a weighted average of all z so
/// far. While training, the parameters hold y = (1 - b1) z + b1 x. One update is
/// v = b2 v + (1 - b2) g²; d = g / (sqrt(v) + eps) + wd y;
/// y = (1 - c) y + c z - lr (1 - b1 (1 - c)) d; z -= lr d, where lr = learning_rate sqrt(1 - b2^t).
///
/// The weight of an update is the square of the largest lr so far, and c is the weight of this
/// update over the sum of all weights so far. wd is weight_decay, b1 and b2 are beta1 and beta2,
/// eps is epsilon, and t counts the updates from 1.
#pragma once

#include <algorithm>
#include <cmath>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/optim/rule.hpp"

namespace qlora::inline QLORA_ABI {

/// An AveragingRule with two states per element: the iterate z, in full precision, and the second
/// moment v. It also remembers the weights of its average. Several threads may read one object, and
/// one thread at a time may call `step`.
struct ScheduleFreeAdamWRule {
  /// The settings of one group of parameters.
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

  double largest_rate = 0, weights = 0;  // the largest lr and the sum of the weights so far
  double beta1 = 0;                      // of the steps so far; 0 before the first

  /// One update with its coefficients in T; y is the parameters, s[0] is z and s[1] is v. The first
  /// update sets z to y.
  template <class T>
  struct Step {
    bool first;
    T c, lr, toward, epsilon, weight_decay, b2, r2;

    template <class Numbers>
    [[gnu::always_inline]] QLORA_HD void operator()(Numbers& y, Numbers& g, Numbers* s) const {
      if (first) s[0] = y;
      s[1] = b2 * s[1] + r2 * (g * g);
      g /= optim_detail::square_root(s[1]) + epsilon;
      optim_detail::decay_gradient(g, y, weight_decay);
      y += c * (s[0] - y) + toward * g;
      s[0] -= lr * g;
    }
  };

  /// The step that makes the t-th update; t starts at 1. It counts this update's weight. Throws
  /// OptionError unless beta1 is above 0, below 1, and the same as in the steps before.
  template <class T>
  Step<T> step(const Options& options, Index t) {
    require<OptionError>(options.beta1 > 0 && options.beta1 < 1,
                         "schedule-free: expected a beta1 between 0 and 1, found ", options.beta1);
    require<OptionError>(t == 1 || options.beta1 == beta1,
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

  /// The share of the way from y to z that leads to the average x: x = y + share (z - y). It is
  /// negative, because y lies between x and z. There must have been a step.
  double share_to_average() const { return 1 - 1 / beta1; }
  /// The share of the way from x to z that leads back to y: y = x + share (z - x).
  double share_to_iterate() const { return 1 - beta1; }
};

}  // namespace qlora::inline QLORA_ABI
