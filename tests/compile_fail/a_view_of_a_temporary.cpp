// expect: deleted
#include <qlora/quant.hpp>

const qlora::RowMatrixXf x(2, 2);
#ifdef QLORA_TEST_GOOD
const auto w = qlora::quantize<qlora::formats::nf4>(x);
auto view = w.view();
#else
auto view = qlora::quantize<qlora::formats::nf4>(x).view();
#endif
