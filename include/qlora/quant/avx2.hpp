/// Runs of 4-bit codes looked up by AVX2 in programs whose flags do not promise it: the processor
/// is asked when the program runs. The bits are those of the scalar path.
///
///   if (quant_detail::processor_has_avx2()) quant_detail::look_up_by_avx2(table, scale, bytes, count, out);
///
/// Written with the compilers' vector types, so that no header of intrinsics has to be compiled.
#pragma once

#include "qlora/core/config.hpp"

#if QLORA_HAS_RUNTIME_AVX2

#include <cstdint>
#include <cstring>

namespace qlora::inline QLORA_ABI::quant_detail {

inline bool processor_has_avx2() { return __builtin_cpu_supports("avx2") != 0; }

/// table[code] * scale for 8 * `groups` codes, two a byte with the first in the high nibble. Only
/// for processors that have AVX2.
__attribute__((target("avx2"))) inline void look_up_by_avx2(const float* table, float scale,
                                                            const std::uint8_t* bytes, Index groups,
                                                            float* out) {
  using Floats = float __attribute__((vector_size(32)));
  using Ints = int __attribute__((vector_size(32)));
  using Words = unsigned __attribute__((vector_size(32)));
  Floats low, high;
  std::memcpy(&low, table, sizeof(low));
  std::memcpy(&high, table + 8, sizeof(high));
  const Words places = {4, 0, 12, 8, 20, 16, 28, 24};
  for (Index i = 0; i < groups; ++i, bytes += 4, out += 8) {
    unsigned packed = 0;
    std::memcpy(&packed, bytes, sizeof(packed));
    const Words code = (Words{} + packed) >> places;
    // A permutation counts modulo 8, and a blend takes the second where the highest bit is set.
    const Floats lower = __builtin_ia32_permvarsf256(low, (Ints)code);
    const Floats upper = __builtin_ia32_permvarsf256(high, (Ints)code);
    const Floats value = __builtin_ia32_blendvps256(lower, upper, (Floats)(code << 28)) * scale;
    std::memcpy(out, &value, sizeof(value));
  }
}

}  // namespace qlora::inline QLORA_ABI::quant_detail

#endif  // QLORA_HAS_RUNTIME_AVX2
