/// A frozen packed weight on the device behind one virtual call a product, so that the tensors of a
/// model may differ in format.
#pragma once

#include <any>
#include <memory>

#include "qlora/cuda/device_matrix.hpp"
#include "qlora/cuda/embedding.hpp"
#include "qlora/cuda/gemm.hpp"

namespace qlora::cuda {

/// The formats that a program compiles kernels for.
template <class... F>
struct Formats {};

template <DeviceRuntime R>
class DeviceLinear {
 public:
  virtual ~DeviceLinear() = default;
  virtual Index rows() const = 0;
  virtual Index cols() const = 0;
  virtual Index bytes() const = 0;
  /// out.y (+)= x Wᵀ + LoRA's part. x: [out.rows, cols()].
  virtual void forward(const Device<R>& device, const float* x, const Output<float>& out,
                       const LowRank& low_rank) const = 0;
  /// out.y (+)= dy W + LoRA's part under dropout. dy: [out.rows, rows()].
  virtual void backward(const Device<R>& device, const float* dy, const Output<float>& out,
                        const LowRank& low_rank, const Dropout& dropout) const = 0;
  /// out[i] = the row of ids[i].
  virtual void rows_of(const Device<R>& device, const std::int32_t* ids, Index count,
                       float* out) const = 0;
};

template <class F, DeviceRuntime R>
class PackedLinear final : public DeviceLinear<R> {
 public:
  PackedLinear(const Device<R>& device, const QuantizedView<F>& host) : matrix_(device, host) {}

  Index rows() const override { return matrix_.view().rows(); }
  Index cols() const override { return matrix_.view().cols(); }
  Index bytes() const override { return matrix_.bytes(); }

  void forward(const Device<R>& device, const float* x, const Output<float>& out,
               const LowRank& low_rank) const override {
    const auto& w = matrix_.view();
    if constexpr (has_words<F>) {
      if (reads_by_words(w) && detail::is_aligned(x, 16)) {
        if (out.rows <= 32)
          return device.launch(
              ForwardProduct<F, float, float, 32, 64, Reads::words>{w, x, out, low_rank});
        return device.launch(
            ForwardProduct<F, float, float, 128, 128, Reads::words>{w, x, out, low_rank});
      }
    }
    device.launch(ForwardProduct<F, float, float, 32, 64, Reads::weights>{w, x, out, low_rank});
  }
  void backward(const Device<R>& device, const float* dy, const Output<float>& out,
                const LowRank& low_rank, const Dropout& dropout) const override {
    const auto& w = matrix_.view();
    if constexpr (has_words<F>) {
      if (reads_by_words(w) && w.rows() % 8 == 0 && detail::is_aligned(dy, 16)) {
        if (out.rows <= 32)
          return device.launch(BackwardProduct<F, float, float, 32, 64, Reads::words>{
              w, dy, out, low_rank, dropout});
        return device.launch(BackwardProduct<F, float, float, 128, 128, Reads::words>{
            w, dy, out, low_rank, dropout});
      }
    }
    device.launch(
        BackwardProduct<F, float, float, 32, 64, Reads::weights>{w, dy, out, low_rank, dropout});
  }
  void rows_of(const Device<R>& device, const std::int32_t* ids, Index count,
               float* out) const override {
    device.launch(EmbeddingForward<F>{matrix_.view(), ids, out, count});
  }

 private:
  DeviceMatrix<F, R> matrix_;
};

/// Copies a weight to the device: `view` holds a QuantizedView of one of the formats. Throws
/// FormatError, with `name`, for another one.
template <DeviceRuntime R, class... F>
std::unique_ptr<DeviceLinear<R>> make_device_linear(const Device<R>& device, const std::any& view,
                                                    Formats<F...>, const char* name) {
  std::unique_ptr<DeviceLinear<R>> made;
  const auto offer = [&]<class Format>(std::type_identity<Format>) {
    if (const auto* host = std::any_cast<QuantizedView<Format>>(&view))
      made = std::make_unique<PackedLinear<Format, R>>(device, *host);
  };
  (offer(std::type_identity<F>{}), ...);
  require<FormatError>(made != nullptr, name, ": its format is none of the ", sizeof...(F),
                       " that this program has kernels for");
  return made;
}

}  // namespace qlora::cuda
