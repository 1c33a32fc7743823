/// The codebooks of GGUF's block types, with the rounding of ggml's own quantizers. Values are
/// ggml's integers; the scale carries the rest.
///
///     using Q4_0 = qlora::BlockFormat<qlora::GgmlInt4, 32, qlora::FloatScale<qlora::float16>,
///                                     qlora::SignedAbsoluteMaximum>;
#pragma once

#include <array>

#include "qlora/codebook/codebook.hpp"
#include "qlora/codebook/integer.hpp"
#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

namespace codebook_detail {

/// ggml takes the whole part of x + shift, in float32: the largest x that does not reach k.
constexpr float last_below_whole(float shift, int k) {
  const auto reaches = [=](float x) { return x + shift >= static_cast<float>(k); };
  float x = static_cast<float>(k) - shift;
  while (reaches(x)) x = next_below(x);
  return x;
}

template <std::size_t Count>
constexpr auto make_whole_part_thresholds(float shift) {
  std::array<float, Count> table{};
  for (std::size_t i = 0; i < Count; ++i)
    table[i] = last_below_whole(shift, static_cast<int>(i) + 1);
  return table;
}

/// -2^(Bits-1) to 2^(Bits-1) - 1.
template <int Bits>
constexpr auto make_whole_numbers() {
  constexpr int half = 1 << (Bits - 1);
  std::array<float, 2 * half> table{};
  for (int k = -half; k < half; ++k)
    table[static_cast<std::size_t>(k + half)] = static_cast<float>(k);
  return table;
}

}  // namespace codebook_detail

/// Q4_0's -8 to 7: the signed extreme of a block maps to -8.
struct GgmlInt4 {
  static constexpr auto values = codebook_detail::make_whole_numbers<4>();
  static constexpr auto thresholds = codebook_detail::make_whole_part_thresholds<15>(8.5f);
};

/// Q4_1's 0 to 15 over a block's minimum.
struct GgmlUInt4 {
  static constexpr auto values = UInt<4>::values;
  static constexpr auto thresholds = codebook_detail::make_whole_part_thresholds<15>(0.5f);
};

/// Q5_0's -16 to 15: the signed extreme of a block maps to -16.
struct GgmlInt5 {
  static constexpr auto values = codebook_detail::make_whole_numbers<5>();
  static constexpr auto thresholds = codebook_detail::make_whole_part_thresholds<31>(16.5f);
};

/// Q5_1's 0 to 31 over a block's minimum.
struct GgmlUInt5 {
  static constexpr auto values = UInt<5>::values;
  static constexpr auto thresholds = codebook_detail::make_whole_part_thresholds<31>(0.5f);
};

/// Q8_0's -128 to 127: absmax maps to 127, ties go away from zero.
struct GgmlInt8 {
  static constexpr auto values = codebook_detail::make_whole_numbers<8>();
  static constexpr float largest = 127;
  /// Half-way between two codes, the one further from zero.
  static constexpr bool tie_goes_up(int lower, int) { return lower >= 128; }
};

/// The K types' codes over a minimum, 0 to 2^Bits - 1.
template <int Bits>
struct GgmlUnsigned {
  static constexpr auto values = UInt<Bits>::values;
  /// Ties go to the even code.
  static constexpr bool tie_goes_up(int lower, int) { return lower % 2 == 1; }
};

/// Their signed codes, -2^(Bits-1) to 2^(Bits-1) - 1, likewise.
template <int Bits>
struct GgmlSigned {
  static constexpr auto values = codebook_detail::make_whole_numbers<Bits>();
  /// Ties go to the even code.
  static constexpr bool tie_goes_up(int lower, int) { return lower % 2 == 1; }
};

/// IQ4_NL's table: the signed extreme of a block maps to -127.
struct IQ4NL {
  static constexpr std::array values{-127.f, -104.f, -83.f, -65.f, -49.f, -35.f, -22.f, -10.f,
                                     1.f,    13.f,   25.f,  38.f,  53.f,  69.f,  89.f,  113.f};
};

}  // namespace qlora::inline QLORA_ABI
