// expect: LoraLinear: the base must be a QuantizedMatrix
#include <qlora/nn.hpp>

#ifdef QLORA_TEST_GOOD
using Base = qlora::RowMatrixXf;
#else
using Base = float;
#endif
qlora::LoraLinear<Base> layer;
