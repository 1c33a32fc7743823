// expect: deleted
#include <qlora/quant.hpp>

const qlora::RowMatrixXf x(2, 2);
#ifdef QLORA_TEST_GOOD
const auto w = qlora::quantize<qlora::formats::bof4_s_opq>(x);
auto view = w.view();
#else
auto view = qlora::quantize<qlora::formats::bof4_s_opq>(x).view();
#endif
