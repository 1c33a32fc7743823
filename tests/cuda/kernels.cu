// Kernels of quantize and dequantize in device code: the paper's format and one of a user's own.
#include <qlora/cuda/dequantize.hpp>
#include <qlora/cuda/quantize.hpp>
#include <qlora/quant/named_formats.hpp>

struct Ternary {
  static constexpr std::array<float, 3> values{-1.f, 0.f, 1.f};
};
using Ternary32 = qlora::BlockFormat<Ternary, 32, qlora::FloatScale<qlora::float16>>;

template <class Format, class T>
__global__ void dequantize(qlora::QuantizedView<Format> w, T* out) {
  qlora::cuda::DeviceContext thread;
  qlora::cuda::dequantize(thread, w, out);
}

template <class Format, class T>
__global__ void quantize_blocks(const T* weights, qlora::Index count, std::uint8_t* codes,
                                float* references) {
  qlora::cuda::DeviceContext thread;
  qlora::cuda::quantize_blocks<Format>(thread, weights, count, codes, references);
}

template <class Format>
__global__ void mean_of_scales(const float* references, qlora::Index count, float* mean) {
  qlora::cuda::DeviceContext thread;
  qlora::cuda::mean_of_scales<Format, 256>(thread, references, count, mean);
}

template <class Format>
__global__ void quantize_scales(const float* references, qlora::Index count, const float* mean,
                                std::uint8_t* codes, float* inner) {
  qlora::cuda::DeviceContext thread;
  qlora::cuda::quantize_scales<Format>(thread, references, count, mean, codes, inner);
}

template <class Format, class S>
__global__ void store_scales(const float* references, qlora::Index count, S* scales) {
  qlora::cuda::DeviceContext thread;
  qlora::cuda::store_scales<Format>(thread, references, count, scales);
}

#define QLORA_INSTANTIATE(Format, T)                                                         \
  template __global__ void dequantize<Format, T>(qlora::QuantizedView<Format>, T*);          \
  template __global__ void quantize_blocks<Format, T>(const T*, qlora::Index, std::uint8_t*, \
                                                      float*);

QLORA_INSTANTIATE(qlora::Nf4Dq, qlora::bfloat16)
QLORA_INSTANTIATE(qlora::Nf4Dq, float)
QLORA_INSTANTIATE(Ternary32, qlora::bfloat16)
template __global__ void dequantize<qlora::MxFp4, qlora::bfloat16>(
    qlora::QuantizedView<qlora::MxFp4>, qlora::bfloat16*);
template __global__ void mean_of_scales<qlora::Nf4Dq>(const float*, qlora::Index, float*);
template __global__ void quantize_scales<qlora::Nf4Dq>(const float*, qlora::Index, const float*,
                                                       std::uint8_t*, float*);
template __global__ void store_scales<Ternary32, qlora::float16>(const float*, qlora::Index,
                                                                 qlora::float16*);
