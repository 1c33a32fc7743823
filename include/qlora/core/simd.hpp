/// Vectors of floats of the instruction set that the compiler's flags name, by Highway.
///
///     #if QLORA_HAS_VECTORS
///     const qlora::simd::FloatTag d;
///     qlora::simd::FloatVector sum = hwy::HWY_NAMESPACE::Zero(d);
///     #endif
///
/// There is nothing in it where `QLORA_HAS_VECTORS` is 0.
#pragma once

#include "qlora/core/config.hpp"

#if QLORA_HAS_VECTORS

#include "qlora/core/highway_set.inc"
//
#include <hwy/highway.h>
//
#include "qlora/core/highway_unset.inc"

namespace qlora::inline QLORA_ABI::simd {

/// Highway's functions for these vectors.
namespace hn = hwy::HWY_NAMESPACE;

/// Says to Highway's functions that a vector holds floats, as many as fit.
using FloatTag = hn::ScalableTag<float>;
/// A vector of floats.
using FloatVector = hn::Vec<FloatTag>;
/// The number of floats in a FloatVector.
inline constexpr Index float_lanes = static_cast<Index>(HWY_MAX_BYTES / sizeof(float));

/// The same vector. Keeps the compiler from fusing the product that `v` is into a later sum.
HWY_INLINE FloatVector rounded(FloatVector v) {
#if defined(__x86_64__)
  asm("" : "+x"(v.raw));
#elif defined(__aarch64__)
  asm("" : "+w"(v.raw));
#endif
  return v;
}

}  // namespace qlora::inline QLORA_ABI::simd

#endif  // QLORA_HAS_VECTORS
