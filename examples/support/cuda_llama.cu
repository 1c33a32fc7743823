#include "support/cuda_llama.hpp"

#include "qlora/cuda/cuda_runtime.hpp"
#include "qlora/quant/named_formats.hpp"

namespace program {

using qlora::cuda::CudaRuntime;
// Those that kernels are compiled for; each takes its time.
using Known = qlora::cuda::Formats<qlora::Nf4, qlora::Nf4Dq, qlora::Fp4, qlora::Fp4Dq, qlora::MxFp4,
                                   qlora::Q4_0, qlora::Q4_1, qlora::Q8_0>;

struct CudaLlama::Model {
  explicit Model(const qlora::cuda::LlamaDescription& description)
      : llama(qlora::cuda::Device(CudaRuntime()), description, Known{}) {}
  qlora::cuda::DeviceLlama<CudaRuntime> llama;
};

CudaLlama::CudaLlama(const qlora::cuda::LlamaDescription& description) {
  require_device();
  model_ = std::make_unique<Model>(description);
}
CudaLlama::~CudaLlama() = default;
CudaLlama::CudaLlama(CudaLlama&&) noexcept = default;
CudaLlama& CudaLlama::operator=(CudaLlama&&) noexcept = default;

void CudaLlama::require_device() {
  qlora::require<qlora::DeviceError>(qlora::cuda::device_count() > 0,
                                     "--device cuda: no CUDA device was found");
}

double CudaLlama::loss(std::span<const float* const> adapters,
                       const qlora::cuda::DeviceBatch& batch,
                       const qlora::cuda::DeviceLossOptions& options,
                       const std::function<void(const float*, qlora::Index)>& take) {
  model_->llama.set_adapters(adapters);
  model_->llama.zero_gradients();
  const double sum = model_->llama.loss(batch, options);
  if (options.backward) model_->llama.gradients(take);
  return sum;
}

}  // namespace program
