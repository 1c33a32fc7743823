// expect: deleted
#include <qlora/quant.hpp>

const qlora::RowMatrixXf x(2, 2);
#ifdef QLORA_TEST_GOOD
const auto scale = qlora::quantize<qlora::Nf4Dq>(x).scale();
auto view = scale.view();
#else
auto view = qlora::quantize<qlora::Nf4Dq>(x).scale().view();
#endif
