// A model's loss and gradients on a CUDA device. Compiled by nvcc (cuda_llama.cu) where the toolkit
// is found; elsewhere cuda_llama.cpp says that it is not there.
#pragma once

#include <memory>
#include <span>

#include "qlora/model/llama.hpp"

namespace program {

class CudaLlama {
 public:
  // Copies the model's weights; it is not needed afterwards. Throws DeviceError where there is no
  // device, or no memory for the model, and FormatError for a weight that no kernel takes.
  explicit CudaLlama(const qlora::Llama<>& model);
  ~CudaLlama();
  CudaLlama(CudaLlama&&) noexcept;
  CudaLlama& operator=(CudaLlama&&) noexcept;

  // Throws DeviceError unless this program can use a device.
  static void require_device();

  // The loss with the parameters' values; with `backward` it adds to their gradients.
  qlora::CrossEntropy loss(const qlora::ParameterList<>& parameters,
                           std::span<const qlora::Token> ids, std::span<const qlora::Token> targets,
                           const qlora::BatchLayout& layout, const qlora::LossOptions& options);

 private:
  struct Model;
  std::unique_ptr<Model> model_;
};

}  // namespace program
