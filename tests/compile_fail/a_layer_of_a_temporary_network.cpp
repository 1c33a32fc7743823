// expect: deleted
#include <qlora/nn/activation.hpp>
#include <qlora/nn/sequential.hpp>

qlora::Sequential<qlora::Gelu<>> network();
#ifdef QLORA_TEST_GOOD
auto kept = network();
const auto& layer = kept.layer<0>();
#else
const auto& layer = network().layer<0>();
#endif
