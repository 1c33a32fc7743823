// expect: deleted
#include <qlora/quant.hpp>

const qlora::RowMatrixXf x(2, 2);
#ifdef QLORA_TEST_GOOD
const auto w = qlora::quantize<qlora::Bof4SOpq>(x);
auto view = w.view();
#else
auto view = qlora::quantize<qlora::Bof4SOpq>(x).view();
#endif
