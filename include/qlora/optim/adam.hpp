/// Adam and AdamW, with the updates of bitsandbytes and torch; the formulas are AdamRule's.
///
///     qlora::AdamW<> optimizer({.learning_rate = 2e-4});
///     optimizer.step(model.parameters());
#pragma once

#include "qlora/optim/adam_rule.hpp"
#include "qlora/optim/optimizer.hpp"

namespace qlora {

template <class State = StateOf<float>, class Memory = InHeap>
using AdamW = Optimizer<AdamRule<Decay::decoupled>, State, Memory>;
template <class State = StateOf<float>, class Memory = InHeap>
using Adam = Optimizer<AdamRule<Decay::coupled>, State, Memory>;

}  // namespace qlora
