// A data type and kernels of one's own over packed weights: the library's device functions encode and decode, the rest
// is yours. Every row's norm in two ways: through the view, one weight at a time, and by runs of 32 codes with a table
// in shared memory. The host checks them.
//
//   custom_kernel
#include <cmath>
#include <cstdio>
#include <vector>

#include <qlora/cuda/cuda_runtime.hpp>
#include <qlora/cuda/device_matrix.hpp>
#include <qlora/quant.hpp>

// The view is the same type on the host and on the device.
template <class Format>
__global__ void row_norms(qlora::QuantizedView<Format> w, float* out) {
  const auto row = static_cast<qlora::Index>(blockIdx.x * blockDim.x + threadIdx.x);
  if (row >= w.rows()) return;
  float sum = 0;
  for (qlora::Index col = 0; col < w.cols(); ++col) sum += w(row, col) * w(row, col);
  out[row] = std::sqrt(sum);
}

// A warp per row, 128 bits of codes per lane, values from a table without bank conflicts, one scale per run. For
// matrices that qlora::cuda::reads_by_words(w).
template <class Format>
__global__ void row_norms_by_runs(qlora::QuantizedView<Format> w, float* out) {
  using namespace qlora::cuda;
  constexpr int bits = Format::code_bits;
  DeviceContext thread;
  const ValueTable<Format, DeviceContext> values(thread, w);
  const qlora::Index row = thread.first_warp();
  if (row >= w.rows()) return;
  float sum = 0;
  for (qlora::Index col = run_size * thread.lane(); col < w.cols(); col += run_size * warp_size) {
    const qlora::Index begin = row * w.cols() + col;
    const CodeRun<bits> run = load_run<bits>(thread, w.codes() + begin / 8 * bits);
    const auto scale = w.scale()(begin / w.block_size());
    for (int group = 0; group < run_size / group_size; ++group) {
      const auto word = group_word(run, group);
      for (int i = 0; i < group_size; ++i) {
        const float weight = qlora::scaled(values(word, i), scale);
        sum += weight * weight;
      }
    }
  }
  for (int mask = warp_size / 2; mask > 0; mask /= 2) sum += thread.shuffle_xor(sum, mask);
  if (thread.lane() == 0) out[row] = std::sqrt(sum);
}

struct Penta {  // five values, three bits
  static constexpr std::array<float, 5> values{-1.f, -0.4f, 0.f, 0.4f, 1.f};
};
using Format = qlora::BlockFormat<Penta, 64, qlora::DoubleQuant<>>;

int main() {
  if (qlora::cuda::device_count() == 0) return std::puts("skipped: no CUDA device"), 0;
  constexpr qlora::Index rows = 300, cols = 1024;
  const qlora::RowMatrixXf weights =
      qlora::RowMatrixXf::NullaryExpr(rows, cols, [](auto row, auto col) {
        return 0.02f * std::sin(0.37f * static_cast<float>(row * cols + col));
      });
  const qlora::cuda::Device device(qlora::cuda::CudaRuntime{});
  qlora::cuda::Buffer<float, qlora::cuda::CudaRuntime> dense(device), norms(device, 2 * rows);
  dense.upload(weights.data(), rows * cols);
  const auto w = qlora::cuda::quantize<Format>(device, dense.data(), rows, cols);
  const auto stream = device.runtime().stream();
  row_norms<<<(rows + 127) / 128, 128, 0, stream>>>(w.view(), norms.data());
  row_norms_by_runs<<<(rows + 3) / 4, 128, 0, stream>>>(w.view(), norms.data() + rows);
  device.check(cudaGetLastError(), "launch");
  Eigen::MatrixXf found(rows, 2);
  norms.download(found.data(), 2 * rows);

  const Eigen::VectorXf expected =
      qlora::dequantize(qlora::quantize<Format>(weights)).rowwise().norm();
  const float worst = (found.colwise() - expected).cwiseAbs().maxCoeff() / expected.maxCoeff();
  std::printf("row 0's norm %.6f; both kernels differ from the host by %.1e at most\n", found(0, 0),
              worst);
  return worst < 1e-5f ? 0 : 1;
}
