/// Light entry point: the layers, each with forward and backward. Needs Eigen only.
#pragma once

#include "qlora/nn/activation.hpp"
#include "qlora/nn/attention.hpp"
#include "qlora/nn/cross_entropy.hpp"
#include "qlora/nn/dense_linear.hpp"
#include "qlora/nn/embedding.hpp"
#include "qlora/nn/lora.hpp"
#include "qlora/nn/rms_norm.hpp"
#include "qlora/nn/rope.hpp"
#include "qlora/nn/sequential.hpp"
#include "qlora/nn/swiglu.hpp"
#include "qlora/quant.hpp"
