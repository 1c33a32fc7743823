// expect: quantize: codes follow the scale as it is stored
#include <qlora/quant.hpp>

struct Own {
  float size = 0;
};
constexpr float scaled(float value, Own scale) { return value * scale.size; }
#ifdef QLORA_TEST_GOOD
constexpr float unscaled(float weight, Own scale) { return weight / scale.size; }
#endif

struct OwnScale {
  static constexpr double bits_per_scale = 32;
  static constexpr bool codes_follow_stored = true;
  struct View {
    const float* sizes = nullptr;
    Own operator()(qlora::Index block) const { return {sizes[block]}; }
  };
  struct Storage {
    std::vector<float> sizes;
    View view() const { return {sizes.data()}; }
    qlora::Index size() const { return static_cast<qlora::Index>(sizes.size()); }
    qlora::Index bytes() const { return 4 * size(); }
  };
  static Storage store(std::span<const float> references, float) {
    return {{references.begin(), references.end()}};
  }
};

const qlora::RowMatrixXf x(2, 2);
auto w = qlora::quantize<qlora::BlockFormat<qlora::NF4, 64, OwnScale>>(x);
