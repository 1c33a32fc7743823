// expect: BlockFormat: the first argument must be a codebook of finite values that are not all zero
#include <qlora/quant.hpp>

struct Zeros {
#ifdef QLORA_TEST_GOOD
  static constexpr std::array values{0.f, 1.f};
#else
  static constexpr std::array values{0.f, 0.f};
#endif
};
constexpr auto bits = qlora::BlockFormat<Zeros, 64, qlora::FloatScale<float>>::bits_per_weight;
