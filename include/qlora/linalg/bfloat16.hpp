/// Products of bfloat16 numbers with float32 sums: two products a lane at a time, by
/// AVX512-BF16's instruction where the target has it and by float32 multiply-adds elsewhere.
///
/// Numbers lie in pairs along the depth: b[k/2][column][k%2], as the instruction takes them.
/// Products of two bfloat16 numbers are exact in float32.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/linalg/micro_kernel.hpp"

#if QLORA_HAS_VECTORS

#include <cstdint>
#include <cstring>

#include "qlora/core/numeric.hpp"

namespace qlora::inline QLORA_ABI::linalg_detail {

using namespace simd;

using WordTag = hn::RebindToUnsigned<FloatTag>;
using WordVector = hn::Vec<WordTag>;

#if QLORA_HAS_BFLOAT16_DOT
static_assert(HWY_MAX_BYTES == 64, "the instruction takes vectors of 64 bytes");

// In assembly: clang 16 crashes on the types of the intrinsics.

/// sum + the products of 16 pairs of bfloat16 numbers, two a lane.
HWY_INLINE FloatVector dot_pairs(WordVector a, WordVector b, FloatVector sum) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
  return sum;
}

/// 16 floats rounded to bfloat16, twice over; subnormal ones become 0, as dot_pairs takes them.
HWY_INLINE __m512i rounded_twice(FloatVector v) {
  __m256i words;
  asm("vcvtneps2bf16 %1, %0" : "=v"(words) : "v"(v.raw));
  return _mm512_broadcast_i64x4(words);
}

#endif

/// The bits of floats rounded to bfloat16, to nearest with ties to even, in the upper half of each
/// word; the lower half is not cleared. NaN stays NaN.
HWY_INLINE WordVector round_to_upper(FloatVector v) {
  const WordTag d;
  const auto bits = hn::BitCast(d, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(d, 0x7fff)));
  return hn::IfThenElse(hn::RebindMask(d, hn::IsNaN(v)), hn::Or(bits, hn::Set(d, 0x400000)),
                        rounded);
}

/// Rounds `count` floats.
inline void round_to_bfloat16(const float* from, Index count, bfloat16* to) {
  const FloatTag d;
  const hn::Rebind<std::uint16_t, FloatTag> d16;
  Index i = 0;
  for (; i + float_lanes <= count; i += float_lanes) {
    const auto upper = hn::ShiftRight<16>(round_to_upper(hn::LoadU(d, from + i)));
    // Every word fits 16 bits; as signed numbers they would saturate.
    hn::StoreU(hn::TruncateTo(d16, upper), d16, reinterpret_cast<std::uint16_t*>(to + i));
  }
  for (; i < count; ++i) to[i] = bfloat16(from[i]);
}

/// Rounds `count` floats in place; they stay floats.
inline void keep_bfloat16(float* x, Index count) {
  const FloatTag d;
  Index i = 0;
  for (; i + float_lanes <= count; i += float_lanes) {
    const auto upper =
        hn::And(round_to_upper(hn::LoadU(d, x + i)), hn::Set(WordTag(), 0xffff0000u));
    hn::StoreU(hn::BitCast(d, upper), d, x + i);
  }
  for (; i < count; ++i) x[i] = bfloat16(x[i]);
}

/// to[2 i] = first[i], to[2 i + 1] = second[i].
inline void interleave(const bfloat16* first, const bfloat16* second, Index count, bfloat16* to) {
  const WordTag d;
  const hn::Rebind<std::uint16_t, FloatTag> d16;
  const auto words = [&](const bfloat16* from) HWY_ATTR {
    return hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(from)));
  };
  Index i = 0;
  for (; i + float_lanes <= count; i += float_lanes)
    hn::StoreU(hn::Or(words(first + i), hn::ShiftLeft<16>(words(second + i))), d,
               reinterpret_cast<std::uint32_t*>(to + 2 * i));
  for (; i < count; ++i) {
    to[2 * i] = first[i];
    to[2 * i + 1] = second[i];
  }
}

/// Pairs of bfloat16 in, float32 sums.
struct Bfloat16 {
  using Number = bfloat16;
  static constexpr Index depth_step = 2, row_step = 1;
  static constexpr int tile_rows = Float32::tile_rows;
  static constexpr Index tile_width = Float32::tile_width;
  static constexpr Index block_depth = 512;
  struct ThreadSetup {};

  static HWY_INLINE WordVector load(const bfloat16* b) {
    return hn::LoadU(WordTag(), reinterpret_cast<const std::uint32_t*>(b));
  }
  static HWY_INLINE WordVector broadcast(const bfloat16* a) {
    std::uint32_t pair;
    std::memcpy(&pair, a, sizeof(pair));
    return hn::Set(WordTag(), pair);
  }
  static HWY_INLINE FloatVector multiply_add(WordVector a, WordVector b, FloatVector sum) {
#if QLORA_HAS_BFLOAT16_DOT
    return dot_pairs(a, b, sum);
#else
    const FloatTag d;
    const auto upper = hn::Set(WordTag(), 0xffff0000u);
    sum =
        hn::MulAdd(hn::BitCast(d, hn::ShiftLeft<16>(a)), hn::BitCast(d, hn::ShiftLeft<16>(b)), sum);
    return hn::MulAdd(hn::BitCast(d, hn::And(a, upper)), hn::BitCast(d, hn::And(b, upper)), sum);
#endif
  }

  static void strip(bool clear, Index rows, Index columns, const bfloat16* a, Index a_stride,
                    const bfloat16* b, Index depth, float* c, Index c_stride) {
    multiply_strip<Bfloat16>(clear, rows, columns, a, a_stride, b, depth, c, c_stride);
  }
};
static_assert(LaneArithmetic<Bfloat16> && StripArithmetic<Bfloat16>);

}  // namespace qlora::inline QLORA_ABI::linalg_detail

#endif  // QLORA_HAS_VECTORS
