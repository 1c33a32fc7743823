/// How a moment of a gradient becomes an 8-bit code, in units of the largest magnitude of its
/// block. It is written once, for the CPU's state (optim/state_storage.hpp) and for the device's
/// (cuda/optimizer.hpp). Dettmers et al. 2022, "8-bit optimizers via block-wise quantization".
///
///     const auto code = qlora::encode_moment<qlora::Dynamic8>(-0.02f, 0.5f);   // of -0.04
///
/// A code keeps the sign of its number, as in bitsandbytes. All functions are pure: any number of
/// threads may call them.
#pragma once

#include <cstdint>

#include "qlora/codebook/codebook.hpp"
#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// A number divided by the largest magnitude of its block; 0 in a block of zeros.
QLORA_HD constexpr float moment_in_units(float number, float largest) {
  return largest > 0 ? number / largest : 0.f;
}

/// The first code whose value is not below zero.
template <SortedCodebook Map>
inline constexpr int first_not_negative = [] {
  int code = 0;
  while (code < code_count<Map> && Map::values[static_cast<std::size_t>(code)] < 0) ++code;
  return code;
}();

/// The code if its value has the sign of the number; a value of 0 counts as positive. Otherwise
/// rounding crossed zero, and this is the neighbouring code on the side of the number.
template <SortedCodebook Map>
QLORA_HD constexpr std::uint8_t with_sign_of(float number, std::uint8_t code) {
  constexpr int not_negative = first_not_negative<Map>;
  if constexpr (not_negative == 0) {
    return code;
  } else {
    const int down = (number < 0) & (code >= not_negative);
    const int up = (number > 0) & (code < not_negative);
    return static_cast<std::uint8_t>(code - down + up);
  }
}

/// The code of a number in a block whose largest magnitude is `largest`.
template <SortedCodebook Map>
QLORA_HD constexpr std::uint8_t encode_moment(float number, float largest) {
  return with_sign_of<Map>(number, encode<Map>(moment_in_units(number, largest)));
}

}  // namespace qlora::inline QLORA_ABI
