/// Storage types narrower than float, and arithmetic that rounds the same under any compiler flags.
///
/// `bfloat16` and `float16` hold bits; they convert to float exactly and from float to nearest,
/// ties to even. As IEEE 754 has it, what rounds beyond their `largest` becomes infinite; whoever
/// stores weights or scales in them looks first (quantize throws). `e4m3` takes its largest
/// instead.
///
///     qlora::float16 h(0.1f);            // 0x2e66
///     float x = h;                       // 0.0999755859375f
///
/// All of it is values and pure functions: safe to use from several threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "qlora/core/config.hpp"

#if defined(__CUDA_ARCH__)
#include <cuda_fp16.h>
#endif

namespace qlora::inline QLORA_ABI {

/// `a * b` rounded to float before anything else happens to it: the compiler may not fuse it into a
/// later sum. Source of the fence: a measurement of GCC 12, clang 16 and nvcc 13; weaker barriers
/// are optimized away.
QLORA_HD constexpr float rounded_product(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  float product = a * b;
  if (!__builtin_is_constant_evaluated()) {
#if defined(__x86_64__)
    asm("" : "+x"(product));
#elif defined(__aarch64__)
    asm("" : "+w"(product));
#else
    volatile float kept = product;
    product = kept;
#endif
  }
  return product;
#endif
}

/// `a + b` rounded to float before anything else happens to it.
QLORA_HD constexpr float rounded_sum(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}

/// The upper half of a float32: 8 bits of exponent, 7 of fraction.
struct bfloat16 {
  static constexpr float largest = 3.38953139e38f;
  std::uint16_t bits = 0;

  bfloat16() = default;
  QLORA_HD constexpr explicit bfloat16(float value) {
    const auto u = __builtin_bit_cast(std::uint32_t, value);
    const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = is_nan ? static_cast<std::uint16_t>((u >> 16) | 0x40u)
                  : static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  QLORA_HD constexpr operator float() const {
    return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
  }
  /// The number that has these bits.
  static QLORA_HD constexpr bfloat16 from_bits(std::uint16_t bits) {
    bfloat16 value;
    value.bits = bits;
    return value;
  }
};

namespace core_detail {

QLORA_HD constexpr float float_from_float16_bits(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  std::uint32_t fraction = bits & 0x3ffu;
  if (exponent == 0x1fu) return __builtin_bit_cast(float, sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0)
    return __builtin_bit_cast(float, sign | ((exponent + 112u) << 23) | (fraction << 13));
  // Subnormal: fraction * 2^-24 is exact in float.
  const float magnitude = static_cast<float>(fraction) * 5.9604644775390625e-8f;
  return __builtin_bit_cast(float, sign | __builtin_bit_cast(std::uint32_t, magnitude));
}

QLORA_HD constexpr std::uint16_t float16_bits_from_float(float value) {
  const auto u = __builtin_bit_cast(std::uint32_t, value);
  const auto sign = static_cast<std::uint16_t>((u >> 16) & 0x8000u);
  const std::uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);  // NaN
  if (magnitude >= 0x477ff000u)
    return static_cast<std::uint16_t>(sign | 0x7c00u);  // 65520 and above
  if (magnitude >= 0x38800000u) {                       // normal, from 2^-14
    const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
  }
  if (magnitude < 0x33000000u) return sign;  // below half of the smallest subnormal
  const std::uint32_t shift = 126u - (magnitude >> 23);
  const std::uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
  const std::uint32_t kept = significand >> shift;
  const std::uint32_t rest = significand & ((1u << shift) - 1u);
  const std::uint32_t half = 1u << (shift - 1u);
  const std::uint32_t up = (rest > half || (rest == half && (kept & 1u))) ? 1u : 0u;
  return static_cast<std::uint16_t>(sign | (kept + up));
}

}  // namespace core_detail

/// IEEE 754 binary16 (not called `half`, which cuda_fp16.h takes).
struct float16 {
  static constexpr float largest = 65504;
  std::uint16_t bits = 0;

  float16() = default;
  QLORA_HD constexpr explicit float16(float value)
      : bits(core_detail::float16_bits_from_float(value)) {}
  QLORA_HD constexpr operator float() const {
#if defined(__CUDA_ARCH__)
    return __half2float(__ushort_as_half(bits));
#else
    return core_detail::float_from_float16_bits(bits);
#endif
  }
  /// The number that has these bits.
  static QLORA_HD constexpr float16 from_bits(std::uint16_t bits) {
    float16 value;
    value.bits = bits;
    return value;
  }
};

/// A power of two, 2^(bits - 127); 255 is NaN. OCP Microscaling Formats Specification 1.0.
struct e8m0 {
  std::uint8_t bits = 0;

  QLORA_HD constexpr operator float() const {
    if (bits == 0) return __builtin_bit_cast(float, 0x00400000u);  // 2^-127, a subnormal
    if (bits == 255) return __builtin_bit_cast(float, 0x7fc00000u);
    return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 23);
  }
  /// The number that has these bits.
  static QLORA_HD constexpr e8m0 from_bits(std::uint8_t bits) { return {bits}; }
};

/// OCP's FP8 E4M3: 4 bits of exponent, 3 of fraction, no infinities; larger numbers become 448.
struct e4m3 {
  static constexpr float largest = 448;
  std::uint8_t bits = 0;

  e4m3() = default;
  QLORA_HD constexpr explicit e4m3(float value) {
    const auto u = __builtin_bit_cast(std::uint32_t, value);
    const auto sign = (u >> 24) & 0x80u;
    const std::uint32_t size = u & 0x7fffffffu;
    if (size > 0x7f800000u) {
      bits = static_cast<std::uint8_t>(sign | 0x7fu);  // NaN
    } else if (size >= 0x43e00000u) {
      bits = static_cast<std::uint8_t>(sign | 0x7eu);  // 448 and above
    } else if (size >= 0x3c800000u) {                  // normal, from 2^-6
      const std::uint32_t rounded = size + 0x7ffffu + ((size >> 20) & 1u);
      bits = static_cast<std::uint8_t>(sign | ((rounded >> 20) - 960u));
    } else {  // multiples of 2^-9; adding 2^23 rounds to a whole number, ties to even
      const float whole = (__builtin_bit_cast(float, size) * 512.f + 8388608.f) - 8388608.f;
      bits = static_cast<std::uint8_t>(sign | static_cast<std::uint32_t>(whole));
    }
  }
  QLORA_HD constexpr operator float() const {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x80u) << 24;
    const std::uint32_t size = bits & 0x7fu;
    if (size == 0x7fu) return __builtin_bit_cast(float, sign | 0x7fc00000u);
    if (size >= 8) return __builtin_bit_cast(float, sign | ((size + 960u) << 20));
    const float value = rounded_product(static_cast<float>(size), 0.001953125f);
    return __builtin_bit_cast(float, sign | __builtin_bit_cast(std::uint32_t, value));
  }
  /// The number that has these bits.
  static QLORA_HD constexpr e4m3 from_bits(std::uint8_t bits) {
    e4m3 value;
    value.bits = bits;
    return value;
  }
};

/// Whether the value is neither NaN nor infinite. It looks at the bits, so it holds under any
/// compiler flags.
QLORA_HD constexpr bool is_finite(float value) {
  return (__builtin_bit_cast(std::uint32_t, value) & 0x7f800000u) != 0x7f800000u;
}

/// The largest finite float.
inline constexpr float largest_float = 3.40282347e38f;

/// The magnitude, without <cmath> (host and device alike).
QLORA_HD constexpr float magnitude(float value) {
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, value) & 0x7fffffffu);
}

/// The largest magnitude among `count` numbers; NaN counts as larger than infinity. Magnitudes are
/// compared by their bits, which compilers turn into vector code.
constexpr float largest_magnitude(const float* x, std::ptrdiff_t count) {
  std::uint32_t largest = 0;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const std::uint32_t size = __builtin_bit_cast(std::uint32_t, x[i]) & 0x7fffffffu;
    largest = size > largest ? size : largest;
  }
  return __builtin_bit_cast(float, largest);
}

/// Whether all of `count` numbers are finite.
constexpr bool all_finite(const float* x, std::ptrdiff_t count) {
  return is_finite(largest_magnitude(x, count));
}
constexpr bool all_finite(const double* x, std::ptrdiff_t count) {
  std::uint64_t largest = 0;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const std::uint64_t size = __builtin_bit_cast(std::uint64_t, x[i]) & 0x7fffffffffffffffu;
    largest = size > largest ? size : largest;
  }
  return largest < 0x7ff0000000000000u;
}

}  // namespace qlora::inline QLORA_ABI
