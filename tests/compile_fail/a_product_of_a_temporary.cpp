// expect: deleted
#include <qlora/quant.hpp>

const qlora::RowMatrixXf x(2, 2);
#ifdef QLORA_TEST_GOOD
const auto w = qlora::quantize<qlora::Nf4>(x);
auto y = x * w;
#else
auto y = x * qlora::quantize<qlora::Nf4>(x);
#endif
