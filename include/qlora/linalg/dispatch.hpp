/// Which arithmetic a product runs in, and the way through the kernels.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/linalg/blocked.hpp"
#include "qlora/linalg/gemv.hpp"
#include "qlora/linalg/product_options.hpp"

namespace qlora::inline QLORA_ABI {

/// Whether the processor's bfloat16 instructions (AVX512-BF16 or AMX) are compiled in and may be
/// used.
inline bool has_bfloat16_instructions() {
#if QLORA_HAS_AMX
  if (linalg_detail::amx_granted()) return true;
#endif
#if QLORA_HAS_BFLOAT16_DOT
  return true;
#else
  return false;
#endif
}

/// `automatic` resolved. Without Highway every product is float32.
inline Compute resolved(Compute compute) {
#if QLORA_HAS_VECTORS
  if (compute != Compute::automatic) return compute;
  return has_bfloat16_instructions() ? Compute::bfloat16 : Compute::float32;
#else
  (void)compute;
  return Compute::float32;
#endif
}

#if QLORA_HAS_VECTORS

namespace linalg_detail {

/// Calls `run.operator()<Arithmetic>()`.
template <class Run>
void with_arithmetic(Compute compute, Run&& run) {
  if (resolved(compute) == Compute::float32) return run.template operator()<Float32>();
#if QLORA_HAS_AMX
  if (amx_granted()) return run.template operator()<AmxBfloat16>();
#endif
  run.template operator()<Bfloat16>();
}

/// y = x Wᵀ and what `options` adds; x of float or bfloat16.
template <class X>
void forward_product_by_kernels(const ConstMatrixRef<X>& x, const WeightRef& w, MatrixRef<float> y,
                                const ProductOptions<float>& options) {
  if constexpr (std::is_same_v<X, float>) {
    if (x.rows() <= few_tokens && !w.is_dense()) {
      if (resolved(options.compute) == Compute::bfloat16) {
        gemv_forward_bfloat16(x, w, options.beta, y);
      } else {
        gemv_forward(x, w, options.beta, y);
      }
      return options.finish(y, Side::forward);
    }
  }
  with_arithmetic(options.compute, [&]<class Arithmetic>() {
    blocked_forward_product<Arithmetic, X>(x, w, y, options);
  });
}

/// dx = dy W and what `options` adds; dy of float or bfloat16.
template <class X>
void backward_product_by_kernels(const ConstMatrixRef<X>& dy, const WeightRef& w,
                                 MatrixRef<float> dx, const ProductOptions<float>& options) {
  if constexpr (std::is_same_v<X, float>) {
    if (dy.rows() <= few_tokens && resolved(options.compute) == Compute::float32 && can_fuse(w)) {
      gemv_backward(dy, w, options.beta, dx);
      return options.finish(dx, Side::backward);
    }
  }
  with_arithmetic(options.compute, [&]<class Arithmetic>() {
    blocked_backward_product<Arithmetic, X>(dy, w, dx, options);
  });
}

#if defined(QLORA_COMPILED)  // in the target qlora::compiled
extern template void forward_product_by_kernels<float>(const ConstMatrixRef<float>&,
                                                       const WeightRef&, MatrixRef<float>,
                                                       const ProductOptions<float>&);
extern template void backward_product_by_kernels<float>(const ConstMatrixRef<float>&,
                                                        const WeightRef&, MatrixRef<float>,
                                                        const ProductOptions<float>&);
#endif

}  // namespace linalg_detail

#endif

}  // namespace qlora::inline QLORA_ABI
