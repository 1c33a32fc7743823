// expect: deleted
#include <qlora/nn.hpp>

const qlora::RowMatrixXf x(2, 2);
#ifdef QLORA_TEST_GOOD
const qlora::AnyLinear<> layer(qlora::quantize<qlora::formats::nf4>(x));
auto view = layer.view();
#else
auto view = qlora::AnyLinear<>(qlora::quantize<qlora::formats::nf4>(x)).view();
#endif
