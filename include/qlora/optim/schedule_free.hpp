/// Schedule-free AdamW, which averages its iterates instead of lowering the learning rate. The
/// formulas stand beside ScheduleFreeAdamWRule.
///
///     qlora::ScheduleFreeAdamW<> optimizer({.learning_rate = 2.5e-3});
///     optimizer.step(parameters);
///     optimizer.use_average(parameters);   // before evaluating or saving
///     optimizer.use_iterate(parameters);   // before the next step
///
/// The iterate z is a point like the parameters, and not a moment. So it is kept in float (or
/// double) whatever type the other state has. State in 8 bits takes 5 bytes per parameter and a
/// float per block, and state in bfloat16 takes 6 bytes per parameter.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/optim/optimizer.hpp"
#include "qlora/optim/schedule_free_rule.hpp"

namespace qlora::inline QLORA_ABI {

/// Schedule-free AdamW (Defazio et al. 2024). `State` says how the second moment is kept, and
/// `Memory` says which pager holds both states. One thread may call it at a time.
template <class State = NumberState<float>, class Memory = InHeap>
using ScheduleFreeAdamW = Optimizer<ScheduleFreeAdamWRule, State, Memory>;

}  // namespace qlora::inline QLORA_ABI
