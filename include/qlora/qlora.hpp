/// The whole CPU library; files, text and training where their libraries are found.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/core/random.hpp"
#include "qlora/eval/normality.hpp"
#include "qlora/model/generate.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/nn.hpp"
#include "qlora/optim/clip.hpp"
#include "qlora/optim/make_optimizer.hpp"
#include "qlora/optim/schedule.hpp"
#include "qlora/tournament/agreement.hpp"
#include "qlora/tournament/bradley_terry.hpp"
#include "qlora/tournament/elo.hpp"
#include "qlora/tournament/order_bias.hpp"
#include "qlora/version.hpp"

#if QLORA_HAS_JSON && QLORA_HAS_PCRE2 && !defined(QLORA_NO_TEXT)
#include "qlora/eval/multiple_choice.hpp"
#include "qlora/eval/perplexity.hpp"
#include "qlora/train.hpp"
#endif
