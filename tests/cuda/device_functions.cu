// Scalar encode, decode, scale and packing functions and the view, in device code.
#include <qlora/core/random.hpp>
#include <qlora/quant/named_formats.hpp>

struct Ternary {
  static constexpr std::array<float, 3> values{-1.f, 0.f, 1.f};
};

template <class Format>
__global__ void row_norms(qlora::QuantizedView<Format> w, float* out) {
  const auto row = static_cast<qlora::Index>(blockIdx.x * blockDim.x + threadIdx.x);
  if (row >= w.rows()) return;
  float sum = 0;
  for (qlora::Index col = 0; col < w.cols(); ++col) sum += w(row, col) * w(row, col);
  out[row] = sum;
}

template <class Format>
__global__ void decode_rows(qlora::QuantizedView<Format> w, float* out) {
  const auto row = static_cast<qlora::Index>(blockIdx.x * blockDim.x + threadIdx.x);
  if (row < w.rows()) w.decode_range(row * w.cols(), w.cols(), out + row * w.cols());
}

template <class Code>
__global__ void encode_all(const float* x, std::uint8_t* packed, qlora::Index pairs) {
  const auto i = static_cast<qlora::Index>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= pairs) return;
  constexpr int bits = qlora::code_bits<Code>;
  std::uint8_t bytes[2] = {0, 0};
  for (int k = 0; k < 2; ++k) qlora::write_code<bits>(bytes, k, qlora::encode<Code>(x[2 * i + k]));
  packed[i] = static_cast<std::uint8_t>(bytes[0] + qlora::read_code<bits>(bytes, 1));
}

__global__ void narrow(const float* x, qlora::bfloat16* b, qlora::float16* h, float* u) {
  const auto i = threadIdx.x;
  b[i] = qlora::bfloat16(x[i]);
  h[i] = qlora::float16(x[i]);
  u[i] = qlora::uniform01(7, i) + static_cast<float>(h[i]);
}

using qlora::formats::nf4;
using qlora::formats::nf4_dq;
using Fp4 = qlora::BlockFormat<qlora::FP4, 64, qlora::FloatScale<qlora::bfloat16>>;
using Int4 = qlora::BlockFormat<qlora::Int4, qlora::any_size, qlora::FloatScale<float>>;
using Tern = qlora::BlockFormat<Ternary, 32, qlora::FloatScale<qlora::float16>>;

template __global__ void row_norms<nf4>(qlora::QuantizedView<nf4>, float*);
template __global__ void row_norms<nf4_dq>(qlora::QuantizedView<nf4_dq>, float*);
template __global__ void row_norms<Fp4>(qlora::QuantizedView<Fp4>, float*);
template __global__ void row_norms<Int4>(qlora::QuantizedView<Int4>, float*);
template __global__ void row_norms<Tern>(qlora::QuantizedView<Tern>, float*);
template __global__ void decode_rows<nf4_dq>(qlora::QuantizedView<nf4_dq>, float*);
template __global__ void encode_all<qlora::NF4>(const float*, std::uint8_t*, qlora::Index);
template __global__ void encode_all<qlora::FP4>(const float*, std::uint8_t*, qlora::Index);
template __global__ void encode_all<qlora::Dynamic8>(const float*, std::uint8_t*, qlora::Index);
template __global__ void encode_all<Ternary>(const float*, std::uint8_t*, qlora::Index);
