// expect: BlockFormat: the third argument must be a Scale
#include <qlora/quant.hpp>

#ifdef QLORA_TEST_GOOD
using Scale = qlora::FloatScale<float>;
#else
using Scale = float;
#endif
constexpr auto bits = qlora::BlockFormat<qlora::NF4, 64, Scale>::bits_per_weight;
