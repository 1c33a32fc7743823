// Quantizes a matrix on a CUDA device, multiplies by it there, and says what it cost.
//
//   cuda_quantize [ROWS COLS]
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include <qlora/cuda/cuda_runtime.hpp>
#include <qlora/cuda/device_matrix.hpp>
#include <qlora/cuda/gemv.hpp>
#include <qlora/quant/named_formats.hpp>

using qlora::Index;
using qlora::cuda::Buffer, qlora::cuda::CudaRuntime;

int main(int argc, char** argv) {
  const Index rows = argc > 2 ? std::atoll(argv[1]) : 4096;
  const Index cols = argc > 2 ? std::atoll(argv[2]) : 4096;
  if (rows <= 0 || cols <= 0)
    return std::fprintf(stderr, "cuda_quantize: expected two sizes above 0\n"), 2;
  if (qlora::cuda::device_count() == 0) return std::puts("skipped: no CUDA device"), 0;
  using Format = qlora::formats::nf4_dq;
  try {
    const Index count = rows * cols;
    std::vector<float> weights(static_cast<std::size_t>(count));
    std::normal_distribution<float> normal(0, 0.02f);
    for (std::mt19937 generator(1); float& weight : weights) weight = normal(generator);
    const qlora::cuda::Device device(CudaRuntime{});
    Buffer<float, CudaRuntime> dense(device), back(device, count), x(device), y(device, rows);
    dense.upload(weights.data(), count);
    const auto w = qlora::cuda::quantize<Format>(device, dense.data(), rows, cols);
    device.launch(qlora::cuda::Dequantize<Format, float>{w.view(), back.data()});
    std::vector<float> decoded(weights.size());
    back.download(decoded.data(), count);
    double squared = 0, total = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double error = decoded[i] - weights[i];
      squared += error * error;
      total += double(weights[i]) * weights[i];
    }
    std::printf("%td x %td: %.3f bits per weight, relative error %.4f\n", rows, cols,
                8.0 * double(w.bytes()) / double(count), std::sqrt(squared / total));

    const std::vector<float> ones(static_cast<std::size_t>(cols), 1.f);
    x.upload(ones.data(), cols);
    const auto product = [&] {
      using qlora::cuda::Gemv, qlora::cuda::Reads;
      if (qlora::cuda::reads_by_words(w.view())) {
        device.launch(Gemv<Format, float, float, 1, Reads::words>{w.view(), x.data(), y.data()});
      } else {
        device.launch(Gemv<Format, float, float, 1, Reads::weights>{w.view(), x.data(), y.data()});
      }
    };
    product();
    device.synchronize();
    const auto start = std::chrono::steady_clock::now();
    constexpr int times = 100;
    for (int i = 0; i < times; ++i) product();
    device.synchronize();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("y = W x: %.1f us, %.0f GB/s of packed weights\n", 1e6 * seconds.count() / times,
                double(w.bytes()) * times / seconds.count() / 1e9);
  } catch (const qlora::Error& failure) {
    std::fprintf(stderr, "cuda_quantize: %s\n", failure.what());
    return 1;
  }
  return 0;
}
