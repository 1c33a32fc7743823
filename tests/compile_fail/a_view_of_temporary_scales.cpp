// expect: deleted
#include <qlora/quant.hpp>

const qlora::RowMatrixXf x(2, 2);
#ifdef QLORA_TEST_GOOD
const auto scale = qlora::quantize<qlora::formats::nf4_dq>(x).scale();
auto view = scale.view();
#else
auto view = qlora::quantize<qlora::formats::nf4_dq>(x).scale().view();
#endif
