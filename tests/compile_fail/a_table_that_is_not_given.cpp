// expect: quantize: the values of this format's codebook are known at run time only
#include <qlora/quant.hpp>

using Mine = qlora::BlockFormat<qlora::RuntimeTable<2>, 64, qlora::FloatScale<float>>;
const qlora::RowMatrixXf x(2, 2);
#ifdef QLORA_TEST_GOOD
auto w = qlora::quantize<Mine>(x, std::vector<float>{-1, 0, 1});
#else
auto w = qlora::quantize<Mine>(x);
#endif
