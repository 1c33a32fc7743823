// expect: BlockFormat: this Scale can't store what this normalization gives
#include <qlora/quant/named_formats.hpp>

#ifdef QLORA_TEST_GOOD
using Scale = qlora::SignBit<qlora::PowerOfTwoScale<>>;
#else
using Scale = qlora::PowerOfTwoScale<>;
#endif
constexpr auto bits =
    qlora::BlockFormat<qlora::E2M1, 32, Scale, qlora::SignedAbsoluteMaximum>::bits_per_weight;
