// expect: BlockFormat: the first argument must be a codebook of 2 to 256 values
#include <qlora/quant.hpp>

struct Many {
#ifdef QLORA_TEST_GOOD
  static constexpr std::array<float, 256> values{0.f, 1.f};
#else
  static constexpr std::array<float, 300> values{0.f, 1.f};
#endif
};
constexpr auto bits = qlora::BlockFormat<Many, 64, qlora::FloatScale<float>>::bits_per_weight;
