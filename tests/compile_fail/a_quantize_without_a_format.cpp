// expect: QuantizedMatrix: the argument must be a BlockFormat
#include <qlora/quant.hpp>

#ifdef QLORA_TEST_GOOD
using Format = qlora::formats::nf4;
#else
using Format = qlora::NF4;
#endif
auto w = qlora::quantize<Format>(qlora::RowMatrixXf(2, 2));
