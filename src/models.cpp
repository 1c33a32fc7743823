// The functions that programs with QLORA_COMPILED only declare.
#include "qlora/model/load_llama_inline.hpp"
#include "qlora/text/jinja_inline.hpp"
