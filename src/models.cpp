// The functions and classes that a program with QLORA_COMPILED only declares: loading, models, chat templates.
#include "qlora/model/load_llama_inline.hpp"
#include "qlora/text/jinja_inline.hpp"

namespace qlora {
template class LoraLinear<AnyLinear<float>, float>;
template struct LlamaBlock<float>;
template class Llama<float>;
}  // namespace qlora
