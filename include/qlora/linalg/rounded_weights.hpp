/// Weights in bfloat16: decoded and rounded, or, where vectors can look up 32 words at once, looked
/// up in a table that carries the block's scale already. The bits are the same but for weights
/// below 2^-126, which the look-up takes as 0; the instructions that multiply bfloat16 numbers take
/// those as 0 too, so that products are the same.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/linalg/bfloat16.hpp"

#if QLORA_HAS_VECTORS

#include <algorithm>
#include <cstdint>

#include "qlora/linalg/scratch.hpp"
#include "qlora/linalg/weight_ref.hpp"

namespace qlora::inline QLORA_ABI::linalg_detail {

using namespace simd;

#if QLORA_HAS_BFLOAT16_DOT

struct RoundedScales;

/// Columns [col, col + cols) of a row, whole steps of 32, looked up in bfloat16.
inline void look_up_bfloat16(const WeightRef& w, Index row, Index col, Index cols, bfloat16* out) {
  const auto table = hn::Load(FloatTag(), w.table().values());
  const Index begin = row * w.cols() + col, end = begin + cols;
  const Index first = begin / w.block_size(), blocks = (end - 1) / w.block_size() + 1 - first;
  float* scales = scratch<RoundedScales>(blocks);
  w.scales(first, blocks, scales);
  for (Index at = begin; at < end;) {
    const Index block = at / w.block_size(), stop = std::min(end, (block + 1) * w.block_size());
    const __m512i values = rounded_twice(apply(table, scales[block - first]));
    for (; at < stop; at += 32, out += 32) {
      const __m256i low = _mm256_cvtepu8_epi16(_mm_loadu_si128(
          reinterpret_cast<const __m128i*>(w.codes() + static_cast<std::size_t>(at) / 2)));
      // Words of two codes each: the first from the high nibble.
      const __m512i both = _mm512_cvtepu16_epi32(low);
      const __m512i index =
          _mm512_or_si512(_mm512_srli_epi32(both, 4), _mm512_slli_epi32(both, 16));
      _mm512_storeu_si512(out, _mm512_permutexvar_epi16(index, values));
    }
  }
}

#endif

struct FloatLine;

/// Columns [col, col + cols) of a row.
inline void decode_rounded(const WeightRef& w, Index row, Index col, Index cols, bfloat16* out) {
#if QLORA_HAS_BFLOAT16_DOT
  if (w.is_four_bit() && w.block_size() % 32 == 0 && w.cols() % 32 == 0 && col % 32 == 0 &&
      cols % 32 == 0)
    return look_up_bfloat16(w, row, col, cols, out);
#endif
  if (w.is_dense()) return round_to_bfloat16(w.dense(row, col), cols, out);
  float* line = scratch<FloatLine>(cols);
  w.decode(row, col, cols, line);
  round_to_bfloat16(line, cols, out);
}

}  // namespace qlora::inline QLORA_ABI::linalg_detail

#endif  // QLORA_HAS_VECTORS
