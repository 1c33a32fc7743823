/// Light entry point: everything from a GGUF file to a trained adapter. Needs Eigen, nlohmann-json
/// and PCRE2.
#pragma once

#include "qlora/io/peft.hpp"
#include "qlora/model/generate.hpp"
#include "qlora/model/load_llama.hpp"
#include "qlora/nn.hpp"
#include "qlora/text/dataset.hpp"
#include "qlora/train/trainer.hpp"
