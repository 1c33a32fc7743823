// expect: BlockFormat: the first argument must be a codebook of finite values
#include <qlora/quant.hpp>

struct Mine {
#ifdef QLORA_TEST_GOOD
  static constexpr std::array values{-1.f, 1.f};
#else
  static constexpr std::array values{-1.f, __builtin_nanf("")};
#endif
};
constexpr auto bits = qlora::BlockFormat<Mine, 64, qlora::FloatScale<float>>::bits_per_weight;
