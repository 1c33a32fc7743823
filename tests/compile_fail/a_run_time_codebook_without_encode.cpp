// expect: BlockFormat: the first argument must be a codebook; one of values known at run time has
#include <qlora/quant.hpp>

struct Mine {
  static constexpr int bits = 2;
  static constexpr bool by_row = false;
  struct View {
    const float* values = nullptr;
    float operator()(std::uint8_t code, qlora::Index) const { return values[code]; }
#ifdef QLORA_TEST_GOOD
    std::uint8_t encode(float x, qlora::Index) const { return x > 0 ? 1 : 0; }
#endif
  };
  struct Storage {
    std::vector<float> values;
    View view() const { return {values.data()}; }
    qlora::Index bytes() const { return 16; }
    bool fits(qlora::Index) const { return values.size() == 4; }
  };
};
constexpr auto bits = qlora::BlockFormat<Mine, 64, qlora::FloatScale<float>>::bits_per_weight;
