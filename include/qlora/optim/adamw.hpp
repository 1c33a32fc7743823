/// AdamW with decoupled weight decay; the update of bitsandbytes and torch. Loshchilov and Hutter
/// 2019.
///
///     qlora::AdamW<> optimizer({.learning_rate = 2e-4f});
///     optimizer.step(model.parameters());
///
/// p *= 1 - lr wd; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²; p -= lr c2 / c1 * m / (sqrt(v) +
/// eps c2) with c1 = 1 - b1^t and c2 = sqrt(1 - b2^t).
#pragma once

#include <cmath>
#include <vector>

#include "qlora/core/parallel.hpp"
#include "qlora/nn/parameter.hpp"

namespace qlora {

struct AdamWOptions {
  double learning_rate = 2e-4;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
};

template <Scalar T = float>
class AdamW {
 public:
  explicit AdamW(const AdamWOptions& options = {}) : options_(options) {}

  AdamWOptions& options() { return options_; }
  Index steps() const { return steps_; }

  /// One update from the parameters' gradients. The list must be the same in every call; throws
  /// ShapeError otherwise.
  void step(const ParameterList<T>& parameters) {
    if (states_.empty())
      for (const auto* p : parameters)
        states_.push_back({Vector<T>::Zero(p->value.size()), Vector<T>::Zero(p->value.size())});
    require<ShapeError>(states_.size() == parameters.size(), "AdamW: expected the ", states_.size(),
                        " parameters of the first step, found ", parameters.size());
    ++steps_;
    const auto t = static_cast<double>(steps_);
    const double correction1 = 1 - std::pow(options_.beta1, t);
    const double correction2 = std::sqrt(1 - std::pow(options_.beta2, t));
    const auto decay = static_cast<T>(1 - options_.learning_rate * options_.weight_decay);
    const auto rate = static_cast<T>(-options_.learning_rate * correction2 / correction1);
    const auto epsilon = static_cast<T>(options_.epsilon * correction2);
    const auto b1 = static_cast<T>(options_.beta1), b2 = static_cast<T>(options_.beta2);
    const auto r1 = static_cast<T>(1 - options_.beta1), r2 = static_cast<T>(1 - options_.beta2);
    parallel_for(static_cast<Index>(parameters.size()), [&](Index i) {
      Parameter<T>& p = *parameters[static_cast<std::size_t>(i)];
      State& state = states_[static_cast<std::size_t>(i)];
      require<ShapeError>(state.m.size() == p.value.size(), "AdamW: ", p.name, ": expected ",
                          state.m.size(), " numbers as in the first step, found ", p.value.size());
      const auto g = Eigen::Map<const Vector<T>>(p.grad.data(), p.grad.size()).array();
      auto value = Eigen::Map<Vector<T>>(p.value.data(), p.value.size()).array();
      state.m.array() = b1 * state.m.array() + r1 * g;
      state.v.array() = b2 * state.v.array() + r2 * g.square();
      value = decay * value + rate * state.m.array() / (state.v.array().sqrt() + epsilon);
    });
  }

 private:
  struct State {
    Vector<T> m, v;
  };
  AdamWOptions options_;
  std::vector<State> states_;
  Index steps_ = 0;
};

}  // namespace qlora
