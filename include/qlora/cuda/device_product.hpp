/// The two products of a packed matrix on a device, by the kernel that fits the matrix and the
/// number of tokens. The CPU's are in linalg/gemm.hpp.
///
///     qlora::cuda::forward_product(device, w, x, {y, tokens, w.rows()});
///     qlora::cuda::backward_product(device, w, dy, {dx, tokens, w.cols()});
///
/// Launches never wait. Throws DeviceError where a launch fails.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/cuda/gemm.hpp"
#include "qlora/cuda/runtime.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// out.y (+)= x Wᵀ + LoRA's part. x: [out.rows, in], on the device; w: [out.cols, in].
template <DeviceRuntime R, class F>
void forward_product(const Device<R>& device, const QuantizedView<F>& w, const float* x,
                     const Output<float>& out, const LowRank& low_rank = {}) {
  if constexpr (has_words<F>) {
    if (reads_by_words(w) && is_aligned(x, 16)) {
      if (out.rows <= 32)
        return device.launch(
            ForwardProduct<F, float, float, 32, 64, Reads::words>{w, x, out, low_rank});
      return device.launch(
          ForwardProduct<F, float, float, 128, 128, Reads::words>{w, x, out, low_rank});
    }
  }
  device.launch(ForwardProduct<F, float, float, 32, 64, Reads::weights>{w, x, out, low_rank});
}

/// out.y (+)= dy W + LoRA's part under dropout. dy: [out.rows, rows of w], on the device; w: [rows,
/// out.cols].
template <DeviceRuntime R, class F>
void backward_product(const Device<R>& device, const QuantizedView<F>& w, const float* dy,
                      const Output<float>& out, const LowRank& low_rank = {},
                      const Dropout& dropout = {}) {
  if constexpr (has_words<F>) {
    if (reads_by_words(w) && w.rows() % 8 == 0 && is_aligned(dy, 16)) {
      if (out.rows <= 32)
        return device.launch(
            BackwardProduct<F, float, float, 32, 64, Reads::words>{w, dy, out, low_rank, dropout});
      return device.launch(
          BackwardProduct<F, float, float, 128, 128, Reads::words>{w, dy, out, low_rank, dropout});
    }
  }
  device.launch(
      BackwardProduct<F, float, float, 32, 64, Reads::weights>{w, dy, out, low_rank, dropout});
}

}  // namespace qlora::inline QLORA_ABI::cuda
