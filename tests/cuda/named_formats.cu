// Encode and decode of every named format in device code, and the scales in every storage type.
#include <qlora/quant/quantized_view.hpp>

template <class Format>
__global__ void decode_rows(qlora::QuantizedView<Format> w, float* out) {
  const auto row = static_cast<qlora::Index>(blockIdx.x * blockDim.x + threadIdx.x);
  if (row >= w.rows()) return;
  for (qlora::Index col = 0; col < w.cols(); ++col) out[row * w.cols() + col] = w(row, col);
}

template <class Format>
__global__ void encode_row(typename qlora::QuantizedView<Format>::CodebookView codebook,
                           const float* x, float reciprocal, std::uint8_t* codes,
                           qlora::Index count) {
  const auto i = static_cast<qlora::Index>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) codes[i] = codebook.encode(x[i] * reciprocal, 0);
}

#define QLORA_INSTANTIATE(Format)                                                                  \
  template __global__ void decode_rows<Format>(qlora::QuantizedView<Format>, float*);              \
  template __global__ void encode_row<Format>(typename qlora::QuantizedView<Format>::CodebookView, \
                                              const float*, float, std::uint8_t*, qlora::Index);

QLORA_INSTANTIATE(qlora::formats::nf4)
QLORA_INSTANTIATE(qlora::formats::nf4_dq)
QLORA_INSTANTIATE(qlora::formats::nf4_dq2)
QLORA_INSTANTIATE(qlora::formats::fp4)
QLORA_INSTANTIATE(qlora::formats::fp4_dq)
QLORA_INSTANTIATE(qlora::formats::fp4_e2m1)
QLORA_INSTANTIATE(qlora::formats::fp4_e3m0)
QLORA_INSTANTIATE(qlora::formats::int4)
QLORA_INSTANTIATE(qlora::formats::int4_16)
QLORA_INSTANTIATE(qlora::formats::af4)
QLORA_INSTANTIATE(qlora::formats::bof4)
QLORA_INSTANTIATE(qlora::formats::bof4_s)
// Its codes are those of Bof4S.
template __global__ void decode_rows<qlora::formats::bof4_s_opq>(
    qlora::QuantizedView<qlora::formats::bof4_s_opq>, float*);
QLORA_INSTANTIATE(qlora::formats::learned4)
QLORA_INSTANTIATE(qlora::formats::nf3)
QLORA_INSTANTIATE(qlora::formats::nf2)
QLORA_INSTANTIATE(qlora::formats::nf8)
QLORA_INSTANTIATE(qlora::formats::mxfp4)
QLORA_INSTANTIATE(qlora::formats::nvfp4)
QLORA_INSTANTIATE(qlora::formats::q4_0)
QLORA_INSTANTIATE(qlora::formats::q4_1)
QLORA_INSTANTIATE(qlora::formats::q8_0)
QLORA_INSTANTIATE(qlora::formats::q5_0)
QLORA_INSTANTIATE(qlora::formats::q5_1)
QLORA_INSTANTIATE(qlora::formats::iq4_nl)
QLORA_INSTANTIATE(qlora::formats::q2_k)
QLORA_INSTANTIATE(qlora::formats::q3_k)
QLORA_INSTANTIATE(qlora::formats::q4_k)
QLORA_INSTANTIATE(qlora::formats::q5_k)
QLORA_INSTANTIATE(qlora::formats::q6_k)
QLORA_INSTANTIATE(qlora::formats::iq4_xs)
