/// Stochastic gradient descent with momentum, as torch and bitsandbytes do it.
///
/// g += wd p; m = g in the first step, mu m + g after; p -= lr m.
#pragma once

#include "qlora/optim/optimizer.hpp"

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

  template <class T>
  auto step(const Options& options, Index) const {
    const auto rate = static_cast<T>(options.learning_rate);
    const auto momentum = static_cast<T>(options.momentum);
    const auto weight_decay = static_cast<T>(options.weight_decay);
    return [=](Run<T> p, Run<T> g, Run<T>* s) {
      detail::decay_gradient(g, p, weight_decay);
      s[0] = momentum * s[0] + g;  // momentum starts at zero
      p -= rate * s[0];
    };
  }
};

template <class State = StateOf<float>, class Memory = InHeap>
using Sgd = Optimizer<SgdRule, State, Memory>;

}  // namespace qlora
