/// Stochastic gradient descent with momentum, as torch and bitsandbytes do it; the formula is
/// SgdRule's.
///
///     qlora::Sgd<> optimizer({.learning_rate = 1e-2});
///     optimizer.step(model.parameters());
#pragma once

#include "qlora/optim/optimizer.hpp"
#include "qlora/optim/sgd_rule.hpp"

namespace qlora {

template <class State = StateOf<float>, class Memory = InHeap>
using Sgd = Optimizer<SgdRule, State, Memory>;

}  // namespace qlora
