// expect: OutlierPreserving: the first argument must be a BlockFormat
#include <qlora/quant.hpp>

#ifdef QLORA_TEST_GOOD
using Inner = qlora::formats::nf4;
#else
using Inner = qlora::NF4;
#endif
constexpr auto bits = qlora::OutlierPreserving<Inner>::bits_per_weight;
