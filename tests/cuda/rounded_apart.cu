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

template __global__ void row_sums<qlora::formats::nf4>(qlora::QuantizedView<qlora::formats::nf4>,
                                                       float*);
template __global__ void row_sums<qlora::formats::nf4_dq>(
    qlora::QuantizedView<qlora::formats::nf4_dq>, float*);
template __global__ void row_sums<qlora::formats::nf4_dq2>(
    qlora::QuantizedView<qlora::formats::nf4_dq2>, float*);
template __global__ void row_sums<qlora::formats::nvfp4>(
    qlora::QuantizedView<qlora::formats::nvfp4>, float*);
template __global__ void row_sums<qlora::formats::q4_1>(qlora::QuantizedView<qlora::formats::q4_1>,
                                                        float*);
template __global__ void row_sums<qlora::formats::q8_0>(qlora::QuantizedView<qlora::formats::q8_0>,
                                                        float*);
template __global__ void row_sums<qlora::formats::learned4>(
    qlora::QuantizedView<qlora::formats::learned4>, float*);
