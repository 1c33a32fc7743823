// expect: the block size, must be positive
#include <qlora/quant.hpp>

#ifdef QLORA_TEST_GOOD
constexpr int size = 1;
#else
constexpr int size = 0;
#endif
constexpr auto bits =
    qlora::BlockFormat<qlora::NF4, size, qlora::FloatScale<float>>::bits_per_weight;
