// expect: the codebook's values must begin at 0 and be sorted
#include <qlora/quant.hpp>

struct Steps {
#ifdef QLORA_TEST_GOOD
  static constexpr std::array values{0.f, 1.f, 2.f, 3.f};
#else
  static constexpr std::array values{0.f, 3.f, 1.f, 2.f};
#endif
};
constexpr auto bits = qlora::BlockFormat<Steps, 32, qlora::AffineScale<float>>::bits_per_weight;
