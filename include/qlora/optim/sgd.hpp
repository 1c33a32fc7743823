/// Stochastic gradient descent with momentum, as in torch and bitsandbytes. The formulas stand
/// beside SgdRule.
///
///     qlora::Sgd<> optimizer({.learning_rate = 1e-2});
///     optimizer.step(model.parameters());
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/optim/optimizer.hpp"
#include "qlora/optim/sgd_rule.hpp"

namespace qlora::inline QLORA_ABI {

/// Stochastic gradient descent with momentum. `State` says how the momentum is kept, and `Memory`
/// says which pager holds it. One thread may call it at a time.
template <class State = NumberState<float>, class Memory = InHeap>
using Sgd = Optimizer<SgdRule, State, Memory>;

}  // namespace qlora::inline QLORA_ABI
