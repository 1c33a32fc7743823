/// Numbers to codes by vectors, and codes to packed bytes: what `encode` and `write_code` do one by
/// one, with the same result.
#pragma once

#include <cstdint>

#include "qlora/codebook/codebook.hpp"
#include "qlora/core/config.hpp"
#include "qlora/quant/decode.hpp"
#include "qlora/quant/packing.hpp"

namespace qlora::inline QLORA_ABI::simd {

#if QLORA_HAS_VECTORS

/// The thresholds of at most 16 codes as a tree of four comparisons.
struct ThresholdTree {
  float first = 0, second[2] = {};
  alignas(64) float third[16] = {}, fourth[16] = {};

  /// `count` thresholds in ascending order; what is missing is beyond all numbers.
  constexpr ThresholdTree(const float* thresholds, int count) {
    const auto at = [=](int t) { return t < count ? thresholds[t] : __builtin_inff(); };
    first = at(7);
    for (int i = 0; i < 2; ++i) second[i] = at(3 + 8 * i);
    for (int i = 0; i < 16; ++i) third[i] = at(1 + 4 * (i % 4));
    for (int i = 0; i < 16; ++i) fourth[i] = at(2 * (i % 8));
  }
};

/// The tree of a codebook's thresholds; of more than 15 every 16th, which parts codes by 16.
template <class Code>
inline constexpr ThresholdTree threshold_tree = [] {
  constexpr int count = code_count<Code> - 1;
  if constexpr (count <= 15) return ThresholdTree(thresholds<Code>.at, count);
  float some[15] = {};
  for (int i = 0; i < 15; ++i)
    some[i] = 16 * i + 15 < count ? thresholds<Code>.at[16 * i + 15] : __builtin_inff();
  return ThresholdTree(some, 15);
}();

/// All thresholds of up to 256 codes; what is missing is beyond all numbers.
template <class Code>
struct AllThresholds {
  alignas(64) float at[256] = {};
  constexpr AllThresholds() {
    for (int i = 0; i < 256; ++i)
      at[i] = i + 1 < code_count<Code> ? thresholds<Code>.at[i] : __builtin_inff();
  }
};
/// The thresholds of a codebook, made once.
template <class Code>
inline constexpr AllThresholds<Code> all_thresholds;

/// How many thresholds lie strictly below each number: its code in ascending order.
template <class Code>
HWY_INLINE hn::Vec<hn::RebindToSigned<FloatTag>> thresholds_below(FloatVector x) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> d32;
  const auto above = [&](FloatVector t) HWY_ATTR {  // -1 where x is above t
    return hn::BitCast(d32, hn::VecFromMask(d, hn::Gt(x, t)));
  };
  if constexpr (float_lanes < 8) {
    auto below = hn::Zero(d32);
    for (int t = 0; t + 1 < code_count<Code>; ++t)
      below = hn::Sub(below, above(hn::Set(d, thresholds<Code>.at[t])));
    return below;
  } else {
    const ThresholdTree& tree = threshold_tree<Code>;
    const auto is_high = hn::Gt(x, hn::Set(d, tree.first));
    const auto second =
        hn::IfThenElse(is_high, hn::Set(d, tree.second[1]), hn::Set(d, tree.second[0]));
    auto code = hn::Neg(hn::BitCast(d32, hn::VecFromMask(d, is_high)));
    code = hn::Sub(hn::Add(code, code), above(second));
    for (const float* level : {tree.third, tree.fourth})
      code = hn::Sub(hn::Add(code, code),
                     above(hn::TableLookupLanes(hn::Load(d, level), hn::IndicesFromVec(d, code))));
    if constexpr (code_count < Code >> 16) {
      code = hn::ShiftLeft<4>(code);
      for (const int step : {8, 4, 2, 1}) {
        const auto threshold = hn::GatherIndex(d, all_thresholds<Code>.at + step - 1, code);
        code = hn::Add(code, hn::And(above(threshold), hn::Set(d32, step)));
      }
    }
    return code;
  }
}

#endif

/// Codes of `count` numbers that are scaled already.
template <class Code>
void encode_values(const float* values, Index count, std::uint8_t* codes) {
  Index i = 0;
#if QLORA_HAS_VECTORS
  if constexpr (code_count<Code> <= 16 || float_lanes >= 8) {
    const FloatTag d;
    const hn::Rebind<std::uint8_t, FloatTag> d8;
    for (; i + float_lanes <= count; i += float_lanes) {
      const auto codes_here = thresholds_below<Code>(hn::LoadU(d, values + i));
      hn::StoreU(hn::DemoteTo(d8, codes_here), d8, codes + i);  // codes are below 256
    }
    if constexpr (!SortedCodebook<Code>)
      for (Index k = 0; k < i; ++k) codes[k] = sorted_codes<Code>.at[codes[k]];
  }
#endif
  for (; i < count; ++i) codes[i] = encode<Code>(values[i]);
}

/// Appends codes to a stream at code `begin`, where the bits are still zero.
template <int Bits>
void pack_codes(const std::uint8_t* codes, Index begin, Index count, std::uint8_t* packed) {
  Index i = 0;
  if constexpr (Bits == 4) {
    if (begin % 2 != 0 && count > 0) write_code<4>(packed, begin, codes[i++]);
    std::uint8_t* to = packed + (begin + i) / 2;
    for (; i + 2 <= count; i += 2) *to++ = static_cast<std::uint8_t>(codes[i] << 4 | codes[i + 1]);
  } else if constexpr (Bits == 8) {
    for (; i < count; ++i) packed[begin + i] = codes[i];
  }
  for (; i < count; ++i) write_code<Bits>(packed, begin + i, codes[i]);
}

}  // namespace qlora::inline QLORA_ABI::simd
