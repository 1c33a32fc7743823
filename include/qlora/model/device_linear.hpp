/// A frozen packed weight on a device behind one virtual call a product, so that the tensors of a
/// model may differ in format.
///
///     qlora::cuda::Device device(qlora::cuda::CudaRuntime{});
///     auto linear = qlora::make_device_linear(device, layer.base().view(),
///                                             qlora::FormatList<Nf4Dq, Q4_1>{}, "layer 0's q_proj");
///     linear->forward(device, x, {y, tokens, linear->rows()}, {});
#pragma once

#include <memory>
#include <string>

#include "qlora/core/token.hpp"
#include "qlora/cuda/device_matrix.hpp"
#include "qlora/cuda/device_product.hpp"
#include "qlora/cuda/embedding.hpp"
#include "qlora/quant/any_view.hpp"

namespace qlora {

/// W: [rows, cols] in device memory; every pointer is to device memory. Calls are in the order of
/// the device's work and may come from one thread at a time.
template <cuda::DeviceRuntime R>
class DeviceLinear {
 public:
  virtual ~DeviceLinear() = default;
  /// Outputs and inputs of the layer.
  virtual Index rows() const = 0;
  virtual Index cols() const = 0;
  /// Of device memory.
  virtual Index bytes() const = 0;
  /// out.y (+)= x Wᵀ + LoRA's part. x: [out.rows, cols()].
  virtual void forward(const cuda::Device<R>& device, const float* x,
                       const cuda::Output<float>& out, const cuda::LowRank& low_rank) const = 0;
  /// out.y (+)= dy W + LoRA's part under dropout. dy: [out.rows, rows()].
  virtual void backward(const cuda::Device<R>& device, const float* dy,
                        const cuda::Output<float>& out, const cuda::LowRank& low_rank,
                        const cuda::Dropout& dropout) const = 0;
  /// out[i] = the row of ids[i]. out: [count, cols()].
  virtual void rows_of(const cuda::Device<R>& device, const Token* ids, Index count,
                       float* out) const = 0;
};

namespace detail {

template <class F, cuda::DeviceRuntime R>
class PackedDeviceLinear final : public DeviceLinear<R> {
 public:
  PackedDeviceLinear(const cuda::Device<R>& device, const QuantizedView<F>& host)
      : matrix_(device, host) {}

  Index rows() const override { return matrix_.view().rows(); }
  Index cols() const override { return matrix_.view().cols(); }
  Index bytes() const override { return matrix_.bytes(); }

  void forward(const cuda::Device<R>& device, const float* x, const cuda::Output<float>& out,
               const cuda::LowRank& low_rank) const override {
    cuda::forward_product(device, matrix_.view(), x, out, low_rank);
  }
  void backward(const cuda::Device<R>& device, const float* dy, const cuda::Output<float>& out,
                const cuda::LowRank& low_rank, const cuda::Dropout& dropout) const override {
    cuda::backward_product(device, matrix_.view(), dy, out, low_rank, dropout);
  }
  void rows_of(const cuda::Device<R>& device, const Token* ids, Index count,
               float* out) const override {
    device.launch(cuda::EmbeddingForward<F>{matrix_.view(), ids, out, count});
  }

 private:
  cuda::DeviceMatrix<F, R> matrix_;
};

}  // namespace detail

/// Copies a packed weight to the device. Throws FormatError, with `name`, where there is none, and
/// where its format is none of the list.
template <cuda::DeviceRuntime R, class... F>
std::unique_ptr<DeviceLinear<R>> make_device_linear(const cuda::Device<R>& device,
                                                    const AnyView& host, FormatList<F...> formats,
                                                    const std::string& name) {
  require<FormatError>(static_cast<bool>(host), name,
                       ": expected a packed weight for the device, found a dense one");
  std::unique_ptr<DeviceLinear<R>> made;
  visit_view(host, formats, [&]<class Format>(const QuantizedView<Format>& view) {
    made = std::make_unique<detail::PackedDeviceLinear<Format, R>>(device, view);
  });
  require<FormatError>(made != nullptr, name, ": expected one of the ", sizeof...(F),
                       " formats that this program has kernels for, found another, of ",
                       host.describe());
  return made;
}

}  // namespace qlora
