// Quantize a matrix, multiply with it, and define a data type of your own:
//
//   g++ -std=c++20 -O3 -march=native -Iinclude -I/usr/include/eigen3 examples/quickstart_matrix.cpp
#include <iostream>
#include <qlora/quant.hpp>

// A data type is the list of its values; 3 values make 2-bit codes.
struct Ternary {
  static constexpr std::array values{-1.f, 0.f, 1.f};
};

template <class Format>
void show(const char* name, const qlora::RowMatrixXf& dense, const qlora::RowMatrixXf& x) {
  const qlora::QuantizedMatrix w = qlora::quantize<Format>(dense);
  const qlora::RowMatrixXf y = x * w.transpose();  // decoded inside the product
  const qlora::RowMatrixXf exact = x * dense.transpose();
  std::cout << name << ": " << Format::bits_per_weight << " bits a weight, " << w.bytes()
            << " bytes, relative error " << (y - exact).norm() / exact.norm() << "\n";
}

int main() {
  const qlora::RowMatrixXf dense = qlora::RowMatrixXf::Random(512, 1024);  // [out, in]
  const qlora::RowMatrixXf x = qlora::RowMatrixXf::Random(8, 1024);        // [tokens, in]

  // A format is a codebook, a block size and a way to store the scales.
  using namespace qlora;
  show<BlockFormat<NF4, 64, FloatScale<float>>>("NF4", dense, x);
  show<BlockFormat<NF4, 64, DoubleQuant<>>>("NF4, double quantization", dense, x);
  show<BlockFormat<FP4, 64, DoubleQuant<>>>("FP4, double quantization", dense, x);
  show<BlockFormat<Int4, 128, FloatScale<float16>>>("Int4, blocks of 128, half scales", dense, x);
  show<BlockFormat<Ternary, 32, FloatScale<float>>>("my own ternary", dense, x);
  return std::cout.flush() ? 0 : 1;
}
