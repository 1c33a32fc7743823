/// Lion: the sign of an average of momentum and gradient; the formula is LionRule's.
///
///     qlora::Lion<> optimizer({.learning_rate = 1e-4});
///     optimizer.step(model.parameters());
#pragma once

#include "qlora/optim/lion_rule.hpp"
#include "qlora/optim/optimizer.hpp"

namespace qlora {

template <class State = StateOf<float>, class Memory = InHeap>
using Lion = Optimizer<LionRule, State, Memory>;

}  // namespace qlora
