/// Numbers to codes by vectors, and codes to packed bytes: what `encode` and `write_code` do one by
/// one, with the same result.
#pragma once

#include <cstdint>

#include "qlora/codebook/codebook.hpp"
#include "qlora/quant/decode.hpp"
#include "qlora/quant/packing.hpp"

namespace qlora::detail {

/// Whether some numbers beyond what absmax maps to would get a code of their own.
template <class Code>
inline constexpr bool has_codes_beyond = [] {
  for (int t = 0; t + 1 < code_count<Code>; ++t)
    if (magnitude(thresholds<Code>.at[t]) > largest_value<Code>) return true;
  return false;
}();

/// Codes of `count` numbers that are scaled already.
template <class Code>
void encode_values(const float* values, Index count, std::uint8_t* codes) {
  Index i = 0;
#if QLORA_VECTOR_DECODE
  if constexpr (code_count<Code> <= 16) {
    const FloatTag d;
    const hn::RebindToSigned<FloatTag> d32;
    const hn::Rebind<std::uint8_t, FloatTag> d8;
    for (; i + float_lanes <= count; i += float_lanes) {
      const auto x = hn::LoadU(d, values + i);
      auto below = hn::Zero(d32);  // thresholds strictly below; a mask is -1
      for (int t = 0; t + 1 < code_count<Code>; ++t)
        below = hn::Sub(
            below,
            hn::BitCast(d32, hn::VecFromMask(d, hn::Gt(x, hn::Set(d, thresholds<Code>.at[t])))));
      hn::StoreU(hn::DemoteTo(d8, below), d8, codes + i);
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

}  // namespace qlora::detail
