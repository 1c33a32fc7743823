// expect: BlockFormat: the first argument must be a codebook, a struct with a public static
#include <qlora/quant.hpp>

struct Mine {
#ifdef QLORA_TEST_GOOD
  static constexpr std::array values{-1.f, 1.f};
#else
  static inline std::vector<float> values{-1.f, 1.f};
#endif
};
constexpr auto bits = qlora::BlockFormat<Mine, 64, qlora::FloatScale<float>>::bits_per_weight;
