// A data type and a scale of your own: name the values that a code stands for, say how a block's
// scale is stored, and everything else in the library works with them.
//
//   build/examples/custom_datatype
#include <cmath>
#include <cstdio>
#include <random>

#include "qlora/quant.hpp"
#include "qlora/quant/error_metrics.hpp"

// Sixteen squares with signs: they crowd around zero, where most weights are.
struct Squares {
  static constexpr std::array<float, 16> values = [] {
    std::array<float, 16> v{};
    for (int k = 0; k < 16; ++k) {
      const float x = static_cast<float>(k - 7) / 8;  // -7/8 .. 1
      v[static_cast<std::size_t>(k)] = x < 0 ? -x * x : x * x;
    }
    return v;
  }();
};

// A scale in one byte: eight steps a factor of two, rounded up so that no weight is cut off.
struct LogScale {
  static constexpr double bits_per_scale = 8;

  struct View {
    const std::uint8_t* steps = nullptr;
    float operator()(qlora::Index block) const {
      return steps[block] == 0 ? 0.f : std::exp2(static_cast<float>(steps[block]) / 8 - 24);
    }
  };
  struct Storage {
    std::vector<std::uint8_t> steps;
    View view() const { return {steps.data()}; }
    qlora::Index size() const { return static_cast<qlora::Index>(steps.size()); }
    qlora::Index bytes() const { return size(); }
  };
  static Storage store(std::span<const float> absmax, float largest_value = 1) {
    Storage storage;
    for (const float a : absmax) {
      const float step = a > 0 ? std::ceil(8 * (std::log2(a / largest_value) + 24)) : 0.f;
      storage.steps.push_back(static_cast<std::uint8_t>(std::fmin(std::fmax(step, 0.f), 255.f)));
    }
    return storage;
  }
};

template <class Format>
void show(const char* name, const qlora::RowMatrixXf& dense) {
  const qlora::QuantizedMatrix w = qlora::quantize<Format>(dense);
  const auto error = qlora::quantization_error(dense, w.view());
  std::printf("%-28s %5.3f bits a weight   signal to noise %5.2f dB\n", name,
              Format::bits_per_weight, error.signal_to_noise_db);
}

int main() {
  std::mt19937 random(0);
  std::normal_distribution<float> normal(0, 0.02f);
  const qlora::RowMatrixXf dense =
      qlora::RowMatrixXf::NullaryExpr(512, 1024, [&] { return normal(random); });

  using namespace qlora;
  show<BlockFormat<NF4, 64, FloatScale<float>>>("NF4, float scales", dense);
  show<BlockFormat<NF4, 64, LogScale>>("NF4, my scales", dense);
  show<BlockFormat<Squares, 64, FloatScale<float>>>("my values, float scales", dense);
  show<BlockFormat<Squares, 32, LogScale>>("my values and scales, by 32", dense);
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0 ? 0 : 1;
}
