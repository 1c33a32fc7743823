#include "support/cuda_llama.hpp"

#include "qlora/cuda/cuda_runtime.hpp"
#include "qlora/model/device_llama.hpp"
#include "qlora/quant/named_formats.hpp"

namespace program {

using qlora::cuda::CudaRuntime;
// Those that kernels are compiled for; each takes its time.
using Known = qlora::FormatList<qlora::formats::nf4, qlora::formats::nf4_dq, qlora::formats::fp4,
                                qlora::formats::fp4_dq, qlora::formats::mxfp4, qlora::formats::q4_0,
                                qlora::formats::q4_1, qlora::formats::q8_0>;

struct CudaLlama::Model {
  explicit Model(const qlora::Llama<>& host)
      : llama(qlora::cuda::Device(CudaRuntime()), host, Known{}) {}
  qlora::DeviceLlama<CudaRuntime> llama;
};

CudaLlama::CudaLlama(const qlora::Llama<>& model) {
  require_device();
  model_ = std::make_unique<Model>(model);
}
CudaLlama::~CudaLlama() = default;
CudaLlama::CudaLlama(CudaLlama&&) noexcept = default;
CudaLlama& CudaLlama::operator=(CudaLlama&&) noexcept = default;

void CudaLlama::require_device() {
  qlora::require<qlora::DeviceError>(qlora::cuda::device_count() > 0,
                                     "--device cuda: no CUDA device was found");
}

qlora::CrossEntropy CudaLlama::loss(const qlora::ParameterList<>& parameters,
                                    std::span<const qlora::Token> ids,
                                    std::span<const qlora::Token> targets,
                                    const qlora::BatchLayout& layout,
                                    const qlora::LossOptions& options) {
  auto& there = model_->llama;
  there.set_adapters(parameters);
  there.zero_gradients();
  const qlora::CrossEntropy result = there.loss(ids, targets, layout, options);
  if (options.backward) there.add_gradients_to(parameters);
  return result;
}

}  // namespace program
