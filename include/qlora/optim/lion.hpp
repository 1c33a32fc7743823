/// Lion: the sign of an average of momentum and gradient. Chen et al. 2023.
///
/// p *= 1 - lr wd; p -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g.
#pragma once

#include "qlora/optim/optimizer.hpp"

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

  template <class T>
  auto step(const Options& options, Index) const {
    const auto rate = static_cast<T>(options.learning_rate);
    const auto weight_decay = static_cast<T>(options.weight_decay);
    const auto b1 = static_cast<T>(options.beta1), b2 = static_cast<T>(options.beta2);
    const auto r1 = static_cast<T>(1 - options.beta1), r2 = static_cast<T>(1 - options.beta2);
    return [=](Run<T> p, Run<T> g, Run<T>* s) {
      detail::decay_parameters(p, rate, weight_decay);
      p -= rate * (b1 * s[0] + r1 * g).sign();
      s[0] = b2 * s[0] + r2 * g;
    };
  }
};

template <class State = StateOf<float>, class Memory = InHeap>
using Lion = Optimizer<LionRule, State, Memory>;

}  // namespace qlora
