/// Transposition of 32-bit words, four by four in registers.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/quant/decode.hpp"

#if QLORA_HAS_VECTORS

#include <cstdint>
#include <cstring>

namespace qlora::inline QLORA_ABI::linalg_detail {

using namespace simd;

/// to[col * to_stride + row] = from[row * from_stride + col]; rows a multiple of 4.
inline void transpose_words(const std::uint32_t* from, Index from_stride, Index rows, Index cols,
                            std::uint32_t* to, Index to_stride) {
  const hn::FixedTag<std::uint32_t, 4> d;
  const hn::FixedTag<std::uint64_t, 2> d64;
  // Words may hold floats.
  const auto move = [](const std::uint32_t* a, std::uint32_t* b) { std::memcpy(b, a, 4); };
  for (Index row = 0; row < rows; row += 4) {
    const std::uint32_t* line = from + row * from_stride;
    Index col = 0;
    for (; col + 4 <= cols; col += 4) {
      const auto a = hn::LoadU(d, line + col), b = hn::LoadU(d, line + from_stride + col);
      const auto c = hn::LoadU(d, line + 2 * from_stride + col),
                 e = hn::LoadU(d, line + 3 * from_stride + col);
      const auto ab_low = hn::BitCast(d64, hn::InterleaveLower(d, a, b)),
                 ab_high = hn::BitCast(d64, hn::InterleaveUpper(d, a, b)),
                 ce_low = hn::BitCast(d64, hn::InterleaveLower(d, c, e)),
                 ce_high = hn::BitCast(d64, hn::InterleaveUpper(d, c, e));
      std::uint32_t* out = to + col * to_stride + row;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, ab_low, ce_low)), d, out);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, ab_low, ce_low)), d, out + to_stride);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, ab_high, ce_high)), d,
                 out + 2 * to_stride);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, ab_high, ce_high)), d,
                 out + 3 * to_stride);
    }
    for (; col < cols; ++col)
      for (Index r = 0; r < 4; ++r)
        move(line + r * from_stride + col, to + col * to_stride + row + r);
  }
}

}  // namespace qlora::inline QLORA_ABI::linalg_detail

#endif  // QLORA_HAS_VECTORS
