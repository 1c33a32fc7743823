// A model's loss and gradients on a CUDA device. Compiled by nvcc (cuda_llama.cu) where the toolkit
// is found; elsewhere cuda_llama.cpp says that it is not there.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "qlora/cuda/device_llama.hpp"

namespace program {

class CudaLlama {
 public:
  // Throws DeviceError where there is no device, or no memory for the model.
  explicit CudaLlama(const qlora::cuda::LlamaDescription& description);
  ~CudaLlama();
  CudaLlama(CudaLlama&&) noexcept;
  CudaLlama& operator=(CudaLlama&&) noexcept;

  // Throws DeviceError unless this program can use a device.
  static void require_device();

  // The loss with the adapters' values; with `backward`, take gets each parameter's gradient.
  double loss(std::span<const float* const> adapters, const qlora::cuda::DeviceBatch& batch,
              const qlora::cuda::DeviceLossOptions& options,
              const std::function<void(const float*, qlora::Index)>& take);

 private:
  struct Model;
  std::unique_ptr<Model> model_;
};

}  // namespace program
