// Every kernel in device code, for the paper's format, for one of OCP's and one of a user's own.
#include <qlora/cuda/attention.hpp>
#include <qlora/cuda/cross_entropy.hpp>
#include <qlora/cuda/cuda_runtime.hpp>
#include <qlora/cuda/dense_product.hpp>
#include <qlora/cuda/device_matrix.hpp>
#include <qlora/cuda/embedding.hpp>
#include <qlora/cuda/gemm.hpp>
#include <qlora/cuda/gemv.hpp>
#include <qlora/cuda/optimizer.hpp>
#include <qlora/cuda/rms_norm.hpp>
#include <qlora/cuda/rope.hpp>
#include <qlora/cuda/swiglu.hpp>
#include <qlora/optim/adam_rule.hpp>
#include <qlora/optim/ademamix_rule.hpp>
#include <qlora/optim/lion_rule.hpp>
#include <qlora/optim/schedule_free_rule.hpp>
#include <qlora/quant/named_formats.hpp>

struct Ternary {
  static constexpr std::array<float, 3> values{-1.f, 0.f, 1.f};
};
using Ternary32 = qlora::BlockFormat<Ternary, 32, qlora::FloatScale<qlora::float16>>;

#define QLORA_KERNEL(...) \
  template __global__ void qlora::cuda::run(const __grid_constant__ __VA_ARGS__);

#define QLORA_PRODUCTS(Format, X, Y)                                  \
  QLORA_KERNEL(Gemv<Format, X, Y, 1, Reads::words>)                   \
  QLORA_KERNEL(Gemv<Format, X, Y, 8, Reads::words>)                   \
  QLORA_KERNEL(ForwardProduct<Format, X, Y, 32, 64, Reads::words>)    \
  QLORA_KERNEL(ForwardProduct<Format, X, Y, 128, 128, Reads::words>)  \
  QLORA_KERNEL(BackwardProduct<Format, X, Y, 32, 64, Reads::words>)   \
  QLORA_KERNEL(BackwardProduct<Format, X, Y, 128, 128, Reads::words>) \
  QLORA_KERNEL(Dequantize<Format, X>)

using namespace qlora::cuda;
using qlora::bfloat16, qlora::formats::mxfp4, qlora::formats::nf4_dq;

QLORA_PRODUCTS(formats::nf4_dq, bfloat16, bfloat16)
QLORA_PRODUCTS(formats::mxfp4, bfloat16, bfloat16)
QLORA_PRODUCTS(Ternary32, bfloat16, bfloat16)
QLORA_KERNEL(ForwardProduct<formats::nf4_dq, float, float, 128, 128, Reads::words>)
QLORA_KERNEL(ForwardProduct<formats::nf4_dq, float, float, 32, 64, Reads::weights>)
QLORA_KERNEL(BackwardProduct<formats::nf4_dq, float, float, 32, 64, Reads::weights>)
QLORA_KERNEL(Gemv<formats::nf4_dq, float, float, 1, Reads::weights>)
QLORA_KERNEL(EmbeddingForward<formats::nf4_dq>)
QLORA_KERNEL(QuantizeBlocks<formats::nf4_dq, bfloat16>)
QLORA_KERNEL(QuantizeBlocks<Ternary32, float>)
QLORA_KERNEL(QuantizeScales<formats::nf4_dq>)
QLORA_KERNEL(StoreScales<qlora::float16>)
QLORA_KERNEL(ApplyDropout)
QLORA_KERNEL(DenseProduct<64, 16>)
QLORA_KERNEL(DenseProduct<16, 64>)
QLORA_KERNEL(RmsNormForward)
QLORA_KERNEL(RmsNormBackward)
QLORA_KERNEL(Rope)
QLORA_KERNEL(SwigluForward)
QLORA_KERNEL(SwigluBackward)
QLORA_KERNEL(CrossEntropyRows)
QLORA_KERNEL(AttentionForward<64>)
QLORA_KERNEL(AttentionBackwardQueries<64>)
QLORA_KERNEL(AttentionBackwardKeys<64>)
QLORA_KERNEL(AttentionForward<128>)
QLORA_KERNEL(AttentionBackwardQueries<128>)
QLORA_KERNEL(AttentionBackwardKeys<128>)
QLORA_KERNEL(OptimizerStep<qlora::AdamWRule, FloatState>)
QLORA_KERNEL(OptimizerStep<qlora::AdamWRule, ByteState>)
QLORA_KERNEL(OptimizerStep<qlora::LionRule, FloatState>)
QLORA_KERNEL(OptimizerStep<qlora::LionRule, ByteState>)
QLORA_KERNEL(OptimizerStep<qlora::AdemamixRule, ByteState>)
QLORA_KERNEL(OptimizerStep<qlora::ScheduleFreeAdamWRule, FloatState>)
QLORA_KERNEL(SumOfSquares)
