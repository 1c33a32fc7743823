/// Adam and AdamW with the updates of torch. The formulas stand beside AdamRule.
///
///     qlora::AdamW<> optimizer({.learning_rate = 2e-4});
///     optimizer.step(model.parameters());
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/optim/adam_rule.hpp"
#include "qlora/optim/optimizer.hpp"

namespace qlora::inline QLORA_ABI {

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019). `State` says how its two moments
/// are kept, and `Memory` says which pager holds them. One thread may call it at a time.
template <class State = NumberState<float>, class Memory = InHeap>
using AdamW = Optimizer<AdamRule<Decay::decoupled>, State, Memory>;
/// Adam (Kingma and Ba 2015), which adds weight decay to the gradient. `State` and `Memory` mean
/// what they mean for AdamW.
template <class State = NumberState<float>, class Memory = InHeap>
using Adam = Optimizer<AdamRule<Decay::coupled>, State, Memory>;

}  // namespace qlora::inline QLORA_ABI
