// Where the CUDA toolkit was not found.
#include "support/cuda_llama.hpp"

namespace program {

struct CudaLlama::Model {};

void CudaLlama::require_device() {
  throw qlora::DeviceError("--device cuda: this program was built without the CUDA toolkit");
}
CudaLlama::CudaLlama(const qlora::cuda::LlamaDescription&) { require_device(); }
CudaLlama::~CudaLlama() = default;
CudaLlama::CudaLlama(CudaLlama&&) noexcept = default;
CudaLlama& CudaLlama::operator=(CudaLlama&&) noexcept = default;
double CudaLlama::loss(std::span<const float* const>, const qlora::cuda::DeviceBatch&,
                       const qlora::cuda::DeviceLossOptions&,
                       const std::function<void(const float*, qlora::Index)>&) {
  return 0;
}

}  // namespace program
