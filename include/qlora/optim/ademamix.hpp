/// AdEMAMix: AdamW with a second, slow average of the gradient; the formula is AdemamixRule's.
///
///     qlora::Ademamix<> optimizer({.learning_rate = 1e-3, .warmup = 1000});
///     optimizer.step(model.parameters());
#pragma once

#include "qlora/optim/ademamix_rule.hpp"
#include "qlora/optim/optimizer.hpp"

namespace qlora {

template <class State = StateOf<float>, class Memory = InHeap>
using Ademamix = Optimizer<AdemamixRule, State, Memory>;

}  // namespace qlora
