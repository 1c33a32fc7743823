// Where the CUDA toolkit was not found.
#include "support/cuda_llama.hpp"

namespace program {

struct CudaLlama::Model {};

void CudaLlama::require_device() {
  throw qlora::DeviceError("--device cuda: this program was built without the CUDA toolkit");
}
CudaLlama::CudaLlama(const qlora::Llama<>&) { require_device(); }
CudaLlama::~CudaLlama() = default;
CudaLlama::CudaLlama(CudaLlama&&) noexcept = default;
CudaLlama& CudaLlama::operator=(CudaLlama&&) noexcept = default;
qlora::CrossEntropy CudaLlama::loss(const qlora::ParameterList<>&, std::span<const qlora::Token>,
                                    std::span<const qlora::Token>, const qlora::BatchLayout&,
                                    const qlora::LossOptions&) {
  return {};
}

}  // namespace program
