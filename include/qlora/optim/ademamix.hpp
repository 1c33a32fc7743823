/// AdEMAMix: AdamW with a second, slow average of the gradient. The formulas stand beside
/// AdemamixRule.
///
///     qlora::Ademamix<> optimizer({.learning_rate = 1e-3, .warmup = 1000});
///     optimizer.step(model.parameters());
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/optim/ademamix_rule.hpp"
#include "qlora/optim/optimizer.hpp"

namespace qlora::inline QLORA_ABI {

/// AdEMAMix (Pagliardini et al. 2024). `State` says how its three averages are kept, and `Memory`
/// says which pager holds them. One thread may call it at a time.
template <class State = NumberState<float>, class Memory = InHeap>
using Ademamix = Optimizer<AdemamixRule, State, Memory>;

}  // namespace qlora::inline QLORA_ABI
