// A caller's sum must not fuse with the products of decode: compiled with nvcc's defaults, which
// contract, no kernel here may hold a fused multiply-add of floats.
#include <qlora/quant/named_formats.hpp>

template <class Format>
__global__ void row_sums(qlora::QuantizedView<Format> w, float* out) {
  const auto row = static_cast<qlora::Index>(blockIdx.x * blockDim.x + threadIdx.x);
  if (row >= w.rows()) return;
  float sum = 0;
  for (qlora::Index col = 0; col < w.cols(); ++col) sum += w(row, col);
  out[row] = sum;
}

template __global__ void row_sums<qlora::Nf4>(qlora::QuantizedView<qlora::Nf4>, float*);
template __global__ void row_sums<qlora::Nf4Dq>(qlora::QuantizedView<qlora::Nf4Dq>, float*);
template __global__ void row_sums<qlora::Nf4Dq2>(qlora::QuantizedView<qlora::Nf4Dq2>, float*);
template __global__ void row_sums<qlora::NvFp4>(qlora::QuantizedView<qlora::NvFp4>, float*);
template __global__ void row_sums<qlora::Q4_1>(qlora::QuantizedView<qlora::Q4_1>, float*);
template __global__ void row_sums<qlora::Q8_0>(qlora::QuantizedView<qlora::Q8_0>, float*);
template __global__ void row_sums<qlora::Learned4>(qlora::QuantizedView<qlora::Learned4>, float*);
