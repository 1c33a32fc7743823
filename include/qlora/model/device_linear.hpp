/// A frozen packed weight on a device, behind one virtual call per product. So the tensors of a
/// model may differ in format.
///
///     qlora::cuda::Device device(qlora::cuda::CudaRuntime{});
///     auto linear = qlora::make_device_linear(device, layer.base().view(),
///                                             qlora::FormatList<formats::nf4_dq, formats::q4_1>{},
///                                             "layer 0's q_proj");
///     linear->forward(device, x, {y, tokens, linear->rows()}, {});
#pragma once

#include <memory>
#include <string>

#include "qlora/core/config.hpp"
#include "qlora/core/token.hpp"
#include "qlora/cuda/device_matrix.hpp"
#include "qlora/cuda/device_product.hpp"
#include "qlora/cuda/embedding.hpp"
#include "qlora/quant/any_view.hpp"

namespace qlora::inline QLORA_ABI {

/// A weight W, [rows, cols], in device memory. Every pointer that a member takes is to device
/// memory. The products join the device's work in order and do not wait for it; they throw
/// DeviceError where a launch fails. One thread may call it at a time.
template <cuda::DeviceRuntime R>
class DeviceLinear {
 public:
  virtual ~DeviceLinear() = default;
  /// The number of outputs of the layer, and of its inputs.
  virtual Index rows() const = 0;
  virtual Index cols() const = 0;
  /// Bytes of device memory that W takes.
  virtual Index bytes() const = 0;
  /// out.y = x Wᵀ + LoRA's part; it is added to y where out.accumulate says so.
  /// x: [out.rows, cols()].
  virtual void forward(const cuda::Device<R>& device, const float* x,
                       const cuda::Output<float>& out, const cuda::LowRank& low_rank) const = 0;
  /// out.y = dy W + LoRA's part under dropout, likewise. dy: [out.rows, rows()].
  virtual void backward(const cuda::Device<R>& device, const float* dy,
                        const cuda::Output<float>& out, const cuda::LowRank& low_rank,
                        const cuda::Dropout& dropout) const = 0;
  /// Decodes row ids[i] of W into row i of out. out: [count, cols()].
  virtual void rows_of(const cuda::Device<R>& device, const Token* ids, Index count,
                       float* out) const = 0;
};

namespace model_detail {

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

}  // namespace model_detail

/// Copies a packed weight to the device. `name` says in messages which weight it is. Throws
/// FormatError for a view of none, as a dense weight gives, and for a format that is not in the
/// list. Throws DeviceError where the copy fails.
template <cuda::DeviceRuntime R, class... F>
std::unique_ptr<DeviceLinear<R>> make_device_linear(const cuda::Device<R>& device,
                                                    const AnyView& host, FormatList<F...> formats,
                                                    const std::string& name) {
  require<FormatError>(static_cast<bool>(host), name,
                       ": expected a packed weight for the device, found a dense one");
  std::unique_ptr<DeviceLinear<R>> made;
  visit_view(host, formats, [&]<class Format>(const QuantizedView<Format>& view) {
    made = std::make_unique<model_detail::PackedDeviceLinear<Format, R>>(device, view);
  });
  require<FormatError>(made != nullptr, name, ": expected one of the ", sizeof...(F),
                       " formats that this program has kernels for, found another, of ",
                       host.describe());
  return made;
}

}  // namespace qlora::inline QLORA_ABI
