/// The whole CPU library; files, text and training where their libraries are found.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/core/random.hpp"
#include "qlora/eval/agreement.hpp"
#include "qlora/eval/bradley_terry.hpp"
#include "qlora/eval/elo.hpp"
#include "qlora/eval/normality.hpp"
#include "qlora/eval/order_bias.hpp"
#include "qlora/model/generate.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/nn.hpp"
#include "qlora/optim/clip.hpp"
#include "qlora/optim/make_optimizer.hpp"
#include "qlora/optim/schedule.hpp"
#include "qlora/version.hpp"

#if QLORA_HAS_JSON && QLORA_HAS_PCRE2 && !defined(QLORA_NO_TEXT)
#include "qlora/train.hpp"
#endif
