/// Lion, which steps by the sign of an average of momentum and gradient. The formulas stand beside
/// LionRule.
///
///     qlora::Lion<> optimizer({.learning_rate = 1e-4});
///     optimizer.step(model.parameters());
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/optim/lion_rule.hpp"
#include "qlora/optim/optimizer.hpp"

namespace qlora::inline QLORA_ABI {

/// Lion (Chen et al. 2023). `State` says how its momentum is kept, and `Memory` says which pager
/// holds it. One thread may call it at a time.
template <class State = NumberState<float>, class Memory = InHeap>
using Lion = Optimizer<LionRule, State, Memory>;

}  // namespace qlora::inline QLORA_ABI
