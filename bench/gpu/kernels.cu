// Times of the kernels on a CUDA device, beside what its memory and its tensor cores could do:
//
//   bench_gpu [--rounds 20]
//
// Says "skipped: no CUDA device" where there is none. Medians of single launches, by events.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "qlora/cuda/cuda_runtime.hpp"
#include "qlora/cuda/device_matrix.hpp"
#include "qlora/cuda/gemm.hpp"
#include "qlora/quant/named_formats.hpp"

using qlora::bfloat16, qlora::Index;
using namespace qlora::cuda;

namespace {

using Bytes = Buffer<std::byte, CudaRuntime>;

int rounds = 20;

// The median of single launches in microseconds.
template <Kernel K>
double microseconds(const Device<CudaRuntime>& device, const K& kernel) {
  cudaEvent_t start, stop;
  device.check(cudaEventCreate(&start), "event");
  device.check(cudaEventCreate(&stop), "event");
  const auto stream = device.runtime().stream();
  std::vector<float> times;
  for (int i = 0; i < rounds + 3; ++i) {
    device.check(cudaEventRecord(start, stream), "event");
    device.launch(kernel);
    device.check(cudaEventRecord(stop, stream), "event");
    device.check(cudaEventSynchronize(stop), "event");
    float milliseconds = 0;
    device.check(cudaEventElapsedTime(&milliseconds, start, stop), "event");
    if (i >= 3) times.push_back(1000 * milliseconds);
  }
  cudaEventDestroy(start);
  cudaEventDestroy(stop);
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  return times[static_cast<std::size_t>(rounds) / 2];
}

void row(const char* kernel, const char* format, Index rows, Index cols, Index tokens, double time,
         double bytes, double flops) {
  std::printf("| %s | %s | %td x %td | %td | %.1f | %.0f | %.1f |\n", kernel, format, rows, cols,
              tokens, time, bytes / time / 1e3, flops / time / 1e6);
}

template <class F>
void measure(const Device<CudaRuntime>& device, const char* format, Index rows, Index cols) {
  constexpr Index most = 2048;
  const Index count = rows * cols;
  std::vector<float> weights(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < weights.size(); ++i)
    weights[i] = 0.02f * (qlora::uniform01(1, i) + qlora::uniform01(2, i) - 1);
  Buffer<float, CudaRuntime> dense(device);
  dense.upload(weights.data(), count);
  const auto matrix = quantize<F>(device, dense.data(), rows, cols);
  const auto& w = matrix.view();
  Buffer<bfloat16, CudaRuntime> x(device), y(device, most * std::max(rows, cols)),
      decoded(device, count);
  x.clear(most * std::max(rows, cols));
  const auto bytes = static_cast<double>(matrix.bytes());
  const double flops = 2.0 * static_cast<double>(count);
  row("dequantize", format, rows, cols, 0,
      microseconds(device, Dequantize<F, bfloat16>{w, decoded.data()}),
      bytes + 2 * static_cast<double>(count), 0);
  if (!reads_by_words(w)) return;
  row("gemv", format, rows, cols, 1,
      microseconds(device, Gemv<F, bfloat16, bfloat16, 1, true>{w, x.data(), y.data()}), bytes,
      flops);
  row("gemv", format, rows, cols, 8,
      microseconds(device, Gemv<F, bfloat16, bfloat16, 8, true>{w, x.data(), y.data()}), bytes,
      8 * flops);
  for (const Index tokens : {Index{16}, Index{256}, most}) {
    const auto scale = static_cast<double>(tokens);
    const Output<bfloat16> forward{y.data(), tokens, rows}, backward{y.data(), tokens, cols};
    const auto time = [&](auto small, auto large) {
      return tokens <= 32 ? microseconds(device, small) : microseconds(device, large);
    };
    row("gemm", format, rows, cols, tokens,
        time(Gemm<F, bfloat16, bfloat16, 32, 64, true>{w, x.data(), forward},
             Gemm<F, bfloat16, bfloat16, 128, 128, true>{w, x.data(), forward}),
        bytes, scale * flops);
    row("gemm transposed", format, rows, cols, tokens,
        time(GemmTransposed<F, bfloat16, bfloat16, 32, 64, true>{w, x.data(), backward},
             GemmTransposed<F, bfloat16, bfloat16, 128, 128, true>{w, x.data(), backward}),
        bytes, scale * flops);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--rounds") == 0) rounds = std::max(1, std::atoi(argv[2]));
  if (device_count() == 0) {
    std::puts("skipped: no CUDA device");
    return 0;
  }
  try {
    const Device device(CudaRuntime{});
    cudaDeviceProp properties{};
    device.check(cudaGetDeviceProperties(&properties, 0), "properties");
    std::printf("%s, CUDA runtime %d\n\n", properties.name, CUDART_VERSION);
    std::puts("| kernel | format | weight | tokens | us | GB/s of weights | Tflop/s |");
    std::puts("|---|---|---|---|---|---|---|");
    for (const auto& [rows, cols] :
         {std::pair<Index, Index>{11008, 4096}, {4096, 4096}, {1536, 576}}) {
      measure<qlora::Nf4Dq>(device, "nf4-dq", rows, cols);
      measure<qlora::Nf4>(device, "nf4", rows, cols);
    }
  } catch (const qlora::Error& failure) {
    std::fprintf(stderr, "bench_gpu: %s\n", failure.what());
    return 1;
  }
  return 0;
}
