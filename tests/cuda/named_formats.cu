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

QLORA_INSTANTIATE(qlora::Nf4)
QLORA_INSTANTIATE(qlora::Nf4Dq)
QLORA_INSTANTIATE(qlora::Nf4Dq2)
QLORA_INSTANTIATE(qlora::Fp4)
QLORA_INSTANTIATE(qlora::Fp4Dq)
QLORA_INSTANTIATE(qlora::Fp4E2M1)
QLORA_INSTANTIATE(qlora::Fp4E3M0)
QLORA_INSTANTIATE(qlora::Int4Block)
QLORA_INSTANTIATE(qlora::Int4Full)
QLORA_INSTANTIATE(qlora::Af4)
QLORA_INSTANTIATE(qlora::Bof4)
QLORA_INSTANTIATE(qlora::Bof4S)
// Its codes are those of Bof4S.
template __global__ void decode_rows<qlora::Bof4SOpq>(qlora::QuantizedView<qlora::Bof4SOpq>,
                                                      float*);
QLORA_INSTANTIATE(qlora::Learned4)
QLORA_INSTANTIATE(qlora::Nf3)
QLORA_INSTANTIATE(qlora::Nf2)
QLORA_INSTANTIATE(qlora::Nf8)
QLORA_INSTANTIATE(qlora::MxFp4)
QLORA_INSTANTIATE(qlora::NvFp4)
QLORA_INSTANTIATE(qlora::Q4_0)
QLORA_INSTANTIATE(qlora::Q4_1)
QLORA_INSTANTIATE(qlora::Q8_0)
QLORA_INSTANTIATE(qlora::Iq4Nl)
