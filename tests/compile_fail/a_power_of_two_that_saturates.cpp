// expect: PowerOfTwoScale rounds scales down, which would saturate every block
#include <qlora/quant/named_formats.hpp>

#ifdef QLORA_TEST_GOOD
using Scale = qlora::PowerOfTwoScale<qlora::RoundScale::up>;
#else
using Scale = qlora::PowerOfTwoScale<>;
#endif
constexpr auto bits = qlora::BlockFormat<qlora::NF4, 32, Scale>::bits_per_weight;
