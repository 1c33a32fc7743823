// expect: deleted
#include <qlora/quant.hpp>

const qlora::RowMatrixXf x(2, 2);
#ifdef QLORA_TEST_GOOD
const auto w = qlora::quantize<qlora::formats::nf4>(x);
auto y = x * w;
#else
auto y = x * qlora::quantize<qlora::formats::nf4>(x);
#endif
