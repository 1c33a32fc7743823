// What needs Eigen only: formats, products, a LoRA layer. Prints "fine".
#include <iostream>
#include <qlora/qlora.hpp>

struct Ternary {
  static constexpr std::array values{-1.f, 0.f, 1.f};
};

int main() {
  using Tern32 = qlora::BlockFormat<Ternary, 32, qlora::FloatScale<qlora::float16>>;
  const qlora::RowMatrixXf dense = qlora::RowMatrixXf::Random(48, 64),
                           x = qlora::RowMatrixXf::Random(4, 64);
  qlora::QuantizedMatrix w = qlora::quantize<Tern32>(dense);
  const qlora::RowMatrixXf y = x * w.transpose();
  qlora::LoraLinear layer(std::move(w), {.rank = 4});
  const auto [out, saved] = layer.forward(x);
  const auto grad = layer.backward(out, saved);
  std::cout << ((out - y).norm() < 1e-4f && grad.cols() == 64 ? "fine" : "wrong") << "\n";
}
