/// What a code value becomes by its block's scale, each operation rounded to float.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/core/numeric.hpp"

namespace qlora::inline QLORA_ABI {

/// A scale with an offset: weight = code value * scale + offset.
struct ScaleAndOffset {
  float scale = 0, offset = 0;
};

/// A block's factor and the whole matrix's: weight = (code value * block) * tensor.
struct TwoFactors {
  float block = 0, tensor = 0;
};

/// A code value times its block's scale, each operation rounded to float.
QLORA_HD constexpr float scaled(float value, float scale) { return rounded_product(value, scale); }
QLORA_HD constexpr float scaled(float value, ScaleAndOffset scale) {
  return rounded_sum(rounded_product(value, scale.scale), scale.offset);
}
QLORA_HD constexpr float scaled(float value, TwoFactors scale) {
  return rounded_product(rounded_product(value, scale.block), scale.tensor);
}

/// The inverse of `scaled`, 0 where the scale is 0.
QLORA_HD constexpr float unscaled(float weight, float scale) {
  return scale == 0 ? 0.f : weight / scale;
}
QLORA_HD constexpr float unscaled(float weight, ScaleAndOffset scale) {
  return unscaled(weight - scale.offset, scale.scale);
}
QLORA_HD constexpr float unscaled(float weight, TwoFactors scale) {
  return unscaled(weight, rounded_product(scale.block, scale.tensor));
}

}  // namespace qlora::inline QLORA_ABI
