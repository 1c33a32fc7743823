// expect: deleted
#include <qlora/nn/lora.hpp>

qlora::LoraLinear<qlora::RowMatrixXf> layer();
#ifdef QLORA_TEST_GOOD
const auto kept = layer();
const auto& base = kept.base();
#else
const auto& base = layer().base();
#endif
