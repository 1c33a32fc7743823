/// Schedule-free AdamW: no learning-rate schedule, but an average of the iterates. The formulas are
/// ScheduleFreeAdamWRule's.
///
///     qlora::ScheduleFreeAdamW<> optimizer({.learning_rate = 2.5e-3});
///     optimizer.step(parameters);
///     optimizer.use_average(parameters);   // before evaluating or saving
///     optimizer.use_iterate(parameters);   // before the next step
///
/// The iterate z is a parameter and not a moment: it is kept in float (or double) whatever the
/// state is kept in. With 8-bit state that is 5 bytes a parameter and a float a block, with
/// bfloat16 6 bytes.
#pragma once

#include "qlora/optim/optimizer.hpp"
#include "qlora/optim/schedule_free_rule.hpp"

namespace qlora {

template <class State = StateOf<float>, class Memory = InHeap>
using ScheduleFreeAdamW = Optimizer<ScheduleFreeAdamWRule, State, Memory>;

}  // namespace qlora
