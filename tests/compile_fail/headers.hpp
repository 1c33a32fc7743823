// What most files of this folder include, parsed once for all of them (tests/programs.cmake). Not more: what is instantiated at the end
// of a unit is instantiated in each. They include what they use nevertheless.
#pragma once

#include <qlora/cuda/gemm.hpp>
#include <qlora/nn.hpp>
#include <qlora/optim/any_optimizer.hpp>
