/// Codes to floats by vectors: one implementation for every codebook and instruction set, because a
/// codebook is data.
///
/// Codes of at most 4 bits are looked up in a table of 16 floats that lies in registers as four
/// planes of bytes: a byte shuffle fetches one byte of 16 codes (per 128 bits), and two rounds of
/// interleaving put the bytes of each float together. Where vectors hold 16 floats, one permutation
/// fetches whole ones. Wider codes are computed where their values are even steps, and gathered
/// elsewhere. Every value is then scaled as `scaled` says, each
/// operation rounded by itself, so the bits are those of the scalar path.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/core/simd.hpp"
#include "qlora/quant/avx2.hpp"

#if QLORA_HAS_VECTORS

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "qlora/codebook/codebook.hpp"
#include "qlora/quant/apply_scale.hpp"
#include "qlora/quant/packing.hpp"

namespace qlora::inline QLORA_ABI::simd {

/// A code value times its block's scale. A user's own kind of scale brings its `scaled` along.
HWY_INLINE float apply(float value, auto scale) { return scaled(value, scale); }
HWY_INLINE FloatVector apply(FloatVector v, float scale) {
  return hn::Mul(v, hn::Set(FloatTag(), scale));
}
HWY_INLINE FloatVector apply(FloatVector v, ScaleAndOffset scale) {
  const FloatTag d;
  return hn::Add(rounded(hn::Mul(v, hn::Set(d, scale.scale))), hn::Set(d, scale.offset));
}
HWY_INLINE FloatVector apply(FloatVector v, TwoFactors scale) {
  const FloatTag d;
  return hn::Mul(hn::Mul(v, hn::Set(d, scale.block)), hn::Set(d, scale.tensor));
}
/// By any other kind of scale, one number after the other.
template <class S>
requires(!std::is_arithmetic_v<S>) HWY_INLINE FloatVector apply(FloatVector v, S scale) {
  const FloatTag d;
  alignas(64) float lanes[float_lanes];
  hn::Store(v, d, lanes);
  for (float& value : lanes) value = scaled(value, scale);
  return hn::Load(d, lanes);
}

/// A table of at most 16 floats for look-up by vectors; shorter ones are repeated. Any number of
/// threads may read one.
class LookupTable {
 public:
  LookupTable() = default;
  explicit constexpr LookupTable(const float* table, int count) {
    for (int i = 0; i < 16; ++i) {
      values_[i] = table[i % count];
      const auto bits = __builtin_bit_cast(std::uint32_t, values_[i]);
      for (int byte = 0; byte < 4; ++byte)
        planes_[byte][i] = static_cast<std::uint8_t>(bits >> (8 * byte));
    }
  }

  /// The 16 values by code.
  const float* values() const { return values_; }
  /// Byte `byte` of each of the 16 values, the lowest one first.
  const std::uint8_t* plane(int byte) const { return planes_[byte]; }

 private:
  alignas(64) float values_[16] = {};
  alignas(16) std::uint8_t planes_[4][16] = {};
};

/// The table of a codebook of at most 4 bits; of wider ones nothing is looked up.
template <class C>
inline constexpr LookupTable lookup_table(decode_table<C>.at,
                                          code_bits<C> <= 4 ? 1 << code_bits<C> : 16);

/// Whether values are first + code * step, exactly: integers. Those need no look-up.
struct EvenSteps {
  bool even = false;
  float first = 0, step = 0;
  constexpr EvenSteps(const float* table, int count)
      : even(count > 16), first(table[0]), step(table[1] - table[0]) {
    for (int i = 0; i < count && even; ++i) {
      const float value = static_cast<float>(i) * step;
      even = value / step == static_cast<float>(i) && value + first == table[i] &&
             (value + first) - first == value;
    }
  }
};

/// The steps of a codebook of more than 4 bits.
template <class C>
inline constexpr EvenSteps even_steps(decode_table<C>.at, code_bits<C> > 4 ? 1 << code_bits<C> : 2);

/// Codes that one step of FourBitLookup turns into floats: four vectors of them, or one where
/// vectors hold 16.
inline constexpr Index decode_step = float_lanes >= 16 ? 16 : 4 * float_lanes;

#if HWY_MAX_BYTES >= 64

/// Where each of 16 packed codes lies: the word of 32 bits, and the bits to its right.
struct CodePlaces {
  alignas(64) std::int32_t word[16] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  alignas(64) std::uint32_t shift[16] = {4, 0, 12, 8, 20, 16, 28, 24, 4, 0, 12, 8, 20, 16, 28, 24};
};
/// The places of 16 codes.
inline constexpr CodePlaces code_places;

/// 16 codes of 4 bits at a time. Any number of threads may call it at a time.
class FourBitLookup {
 public:
  static constexpr int vectors = 1;
  using Tag = hn::CappedTag<float, 16>;

  explicit FourBitLookup(const LookupTable& table) : table_(hn::Load(Tag(), table.values())) {}

  /// The vectors that `plain` fills.
  static constexpr int plain_vectors = 2;
  /// The high or the low nibbles of plain_vectors * float_lanes bytes, in the order of plain_byte.
  HWY_INLINE void plain(const std::uint8_t* bytes, bool high, FloatVector (&out)[2]) const {
    const hn::RebindToUnsigned<Tag> d32;
    const hn::Rebind<std::uint8_t, Tag> d8;
    for (int k = 0; k < 2; ++k) {
      const auto wide = hn::PromoteTo(d32, hn::LoadU(d8, bytes + 16 * k));
      const auto codes = high ? hn::ShiftRight<4>(wide) : hn::And(wide, hn::Set(d32, 0x0f));
      out[k] = hn::TableLookupLanes(table_, hn::IndicesFromVec(Tag(), codes));
    }
  }

  /// 16 codes of a byte each.
  HWY_INLINE void bytes(const std::uint8_t* codes, FloatVector (&out)[1]) const {
    const hn::RebindToUnsigned<Tag> d32;
    const hn::Rebind<std::uint8_t, Tag> d8;
    out[0] = hn::TableLookupLanes(
        table_, hn::IndicesFromVec(Tag(), hn::PromoteTo(d32, hn::LoadU(d8, codes))));
  }

  /// 8 bytes of packed codes, the first in the high nibble.
  HWY_INLINE void packed(const std::uint8_t* bytes, FloatVector (&out)[1]) const {
    const hn::RebindToUnsigned<Tag> d32;
    std::uint64_t packed = 0;
    std::memcpy(&packed, bytes, 8);
    const auto both = hn::BitCast(d32, hn::Set(hn::Repartition<std::uint64_t, Tag>(), packed));
    const auto words = hn::TableLookupLanes(both, hn::SetTableIndices(d32, code_places.word));
    const auto moved = hn::Shr(words, hn::Load(d32, code_places.shift));
    const auto indices = hn::And(moved, hn::Set(d32, 0x0f));
    out[0] = hn::TableLookupLanes(table_, hn::IndicesFromVec(Tag(), indices));
  }

 private:
  hn::Vec<Tag> table_;
};

#else

/// The bytes that each block of 128 bits takes, each twice.
struct ByteOrder {
  alignas(64) std::uint8_t at[HWY_MAX_BYTES] = {};
  constexpr ByteOrder() {
    constexpr int blocks = HWY_MAX_BYTES / 16;
    for (int block = 0; block < blocks; ++block)
      for (int i = 0; i < 16; ++i)
        at[16 * block + i] = static_cast<std::uint8_t>(2 * (i / 4 * blocks + block) + i / 2 % 2);
  }
};
/// The order of one vector's bytes.
inline constexpr ByteOrder order_of_bytes;

/// Four vectors of codes of 4 bits at a time. Any number of threads may call it at a time.
class FourBitLookup {
  using ByteTag = hn::Repartition<std::uint8_t, FloatTag>;
  using PairTag = hn::Repartition<std::uint16_t, FloatTag>;

 public:
  static constexpr int vectors = 4;

  explicit FourBitLookup(const LookupTable& table) {
    const ByteTag d;
    for (int byte = 0; byte < 4; ++byte) planes_[byte] = hn::LoadDup128(d, table.plane(byte));
    order_ = hn::Load(d, order_of_bytes.at);
  }

  /// The vectors that `plain` fills.
  static constexpr int plain_vectors = 4;
  /// The high or the low nibbles of plain_vectors * float_lanes bytes, in the order of plain_byte.
  HWY_INLINE void plain(const std::uint8_t* bytes, bool high, FloatVector (&out)[4]) const {
    const ByteTag d8;
    const PairTag d16;
    const auto all = hn::LoadU(d8, bytes);
    const auto moved = high ? hn::BitCast(d8, hn::ShiftRight<4>(hn::BitCast(d16, all))) : all;
    look_up(hn::And(moved, hn::Set(d8, 0x0f)), out);
  }

  /// 4 * float_lanes codes of a byte each.
  HWY_INLINE void bytes(const std::uint8_t* codes, FloatVector (&out)[4]) const {
    FloatVector v[4];
    look_up(hn::LoadU(ByteTag(), codes), v);
    if constexpr (float_lanes == 8) {
      // Each vector has four codes of either half.
      const FloatTag d;
      out[0] = hn::ConcatLowerLower(d, v[1], v[0]);
      out[1] = hn::ConcatLowerLower(d, v[3], v[2]);
      out[2] = hn::ConcatUpperUpper(d, v[1], v[0]);
      out[3] = hn::ConcatUpperUpper(d, v[3], v[2]);
    } else {
      for (int k = 0; k < 4; ++k) out[k] = v[k];
    }
  }

  /// 2 * float_lanes bytes of packed codes, the first in the high nibble; 16 are read.
  HWY_INLINE void packed(const std::uint8_t* bytes, FloatVector (&out)[4]) const {
    const ByteTag d8;
    const PairTag d16;
    // Each byte twice and, with two blocks of 128 bits, every other pair of bytes in each, so that
    // interleaving within blocks delivers the floats in their order.
    const auto twice = hn::BitCast(d16, hn::TableLookupBytes(hn::LoadDup128(d8, bytes), order_));
    const auto codes =
        hn::BitCast(d8, hn::Or(hn::And(hn::ShiftRight<4>(twice), hn::Set(d16, 0x000f)),
                               hn::And(twice, hn::Set(d16, 0x0f00))));
    look_up(codes, out);
  }

 private:
  /// Floats of byte codes; within each 128 bits, vector k has the codes 4k to 4k + 3.
  HWY_INLINE void look_up(hn::Vec<ByteTag> codes, FloatVector (&out)[4]) const {
    const ByteTag d8;
    const PairTag d16;
    const FloatTag df;
    const auto b0 = hn::TableLookupBytes(planes_[0], codes);
    const auto b1 = hn::TableLookupBytes(planes_[1], codes);
    const auto b2 = hn::TableLookupBytes(planes_[2], codes);
    const auto b3 = hn::TableLookupBytes(planes_[3], codes);
    const auto low0 = hn::BitCast(d16, hn::InterleaveLower(d8, b0, b1));
    const auto low1 = hn::BitCast(d16, hn::InterleaveUpper(d8, b0, b1));
    const auto high0 = hn::BitCast(d16, hn::InterleaveLower(d8, b2, b3));
    const auto high1 = hn::BitCast(d16, hn::InterleaveUpper(d8, b2, b3));
    out[0] = hn::BitCast(df, hn::InterleaveLower(d16, low0, high0));
    out[1] = hn::BitCast(df, hn::InterleaveUpper(d16, low0, high0));
    out[2] = hn::BitCast(df, hn::InterleaveLower(d16, low1, high1));
    out[3] = hn::BitCast(df, hn::InterleaveUpper(d16, low1, high1));
  }

  hn::Vec<ByteTag> planes_[4];
  hn::Vec<ByteTag> order_;
};

#endif

/// Eight codes of `Bits` bits, the first in the highest ones, as eight bytes in memory's order.
template <int Bits>
HWY_INLINE std::uint64_t spread_codes(std::uint64_t x) {
  static_assert(Bits >= 2 && Bits <= 7);
  // Halves, quarters, eighths: each step moves the upper half of every field up.
  constexpr std::uint64_t whole = (std::uint64_t{1} << (4 * Bits)) - 1;
  constexpr std::uint64_t pair = ((std::uint64_t{1} << (2 * Bits)) - 1) * 0x0000000100000001u;
  constexpr std::uint64_t single = ((std::uint64_t{1} << Bits) - 1) * 0x0001000100010001u;
  x = (x & whole) | ((x & (whole << (4 * Bits))) << (32 - 4 * Bits));
  x = (x & pair) | ((x & (pair << (2 * Bits))) << (16 - 2 * Bits));
  x = (x & single) | ((x & (single << Bits)) << (8 - Bits));
  return __builtin_bswap64(x);
}

/// Codes of `Bits` bits unpacked to a byte each.
template <int Bits>
HWY_INLINE void unpack_codes(const std::uint8_t* codes, Index begin, Index count,
                             std::uint8_t* out) {
  if constexpr (Bits != 1 && Bits != 4 && Bits != 8) {
    for (; count > 0 && begin % 8 != 0; ++begin, --count) *out++ = read_code<Bits>(codes, begin);
    const std::uint8_t* byte = codes + begin / 8 * Bits;
    for (; count >= 8; count -= 8, begin += 8, out += 8, byte += Bits) {
      std::uint64_t packed = 0;
      for (int k = 0; k < Bits; ++k) packed = packed << 8 | byte[k];
      const std::uint64_t bytes = spread_codes<Bits>(packed);
      std::memcpy(out, &bytes, 8);
    }
  }
  for (Index i = 0; i < count; ++i) out[i] = read_code<Bits>(codes, begin + i);
}

/// The byte whose nibble is lane i % float_lanes of vector i / float_lanes of FourBitLookup::plain.
constexpr Index plain_byte(Index i) {
  if constexpr (float_lanes >= 16) return i;
  const Index vector = i / float_lanes, lane = i % float_lanes;
  return lane / 4 * 16 + vector * 4 + lane % 4;
}

/// Decodes runs of codes. `table` holds the values by code, 2^Bits of them, and must live as long
/// as the decoder. Any number of threads may call it at a time.
template <int Bits>
class VectorDecoder {
 public:
  /// `steps` says of values of more than 4 bits whether they are even steps; null: they are looked
  /// up.
  VectorDecoder(const float* table, const LookupTable& lookup, const EvenSteps* steps = nullptr)
      : lookup_(lookup), table_(table), steps_(steps) {}

  /// Codes [begin, begin + count), all of one scale, of a stream of `bytes` bytes.
  template <class S>
  HWY_INLINE void operator()(const std::uint8_t* codes, Index bytes, Index begin, Index count,
                             S scale, float* out) const {
    run(codes, bytes, begin, count, out,
        [scale](auto value) HWY_ATTR { return apply(value, scale); });
  }

  /// The same without a scale.
  HWY_INLINE void values(const std::uint8_t* codes, Index bytes, Index begin, Index count,
                         float* out) const {
    run(codes, bytes, begin, count, out, [](auto value) HWY_ATTR { return value; });
  }

 private:
  template <class Scale>
  HWY_INLINE void run(const std::uint8_t* codes, Index bytes, Index begin, Index count, float* out,
                      Scale scale) const {
    if constexpr (Bits == 4) {
      four_bit_codes(codes, bytes, begin, count, out, scale);
    } else if constexpr (Bits < 8) {
      constexpr Index chunk = 128;
      alignas(64) std::uint8_t unpacked[chunk];
      for (; count > 0; begin += chunk, count -= chunk, out += chunk) {
        const Index n = count < chunk ? count : chunk;
        unpack_codes<Bits>(codes, begin, n, unpacked);
        if constexpr (Bits < 4) {
          byte_codes(unpacked, n, out, scale);
        } else {
          wide_codes(unpacked, n, out, scale);
        }
      }
    } else {
      wide_codes(codes + begin, count, out, scale);
    }
  }

  template <class Scale>
  HWY_INLINE void four_bit_codes(const std::uint8_t* codes, Index bytes, Index begin, Index count,
                                 float* out, Scale scale) const {
    const FloatTag d;
    const Index end = begin + count;
    if (begin < end && begin % 2 != 0) *out++ = scale(table_[read_code<4>(codes, begin++)]);
    // A step reads 16 bytes; the last ones of the stream go one by one.
    const Index last = std::min(2 * (bytes - 16), end - decode_step);
    for (; begin <= last; begin += decode_step, out += decode_step) {
      FloatVector values[FourBitLookup::vectors];
      lookup_.packed(codes + static_cast<std::size_t>(begin) / 2, values);
      for (int k = 0; k < FourBitLookup::vectors; ++k)
        hn::StoreU(scale(values[k]), d, out + k * float_lanes);
    }
    for (; begin < end; ++begin) *out++ = scale(table_[read_code<4>(codes, begin)]);
  }

  template <class Scale>
  HWY_INLINE void byte_codes(const std::uint8_t* codes, Index count, float* out,
                             Scale scale) const {
    const FloatTag d;
    Index i = 0;
    for (; i + decode_step <= count; i += decode_step) {
      FloatVector values[FourBitLookup::vectors];
      lookup_.bytes(codes + i, values);
      for (int k = 0; k < FourBitLookup::vectors; ++k)
        hn::StoreU(scale(values[k]), d, out + i + k * float_lanes);
    }
    for (; i < count; ++i) out[i] = scale(table_[codes[i]]);
  }

  /// Codes of more than 4 bits, a byte each.
  template <class Scale>
  HWY_INLINE void wide_codes(const std::uint8_t* codes, Index count, float* out,
                             Scale scale) const {
    const FloatTag d;
    const hn::RebindToSigned<FloatTag> d32;
    const hn::Rebind<std::uint8_t, FloatTag> d8;
    Index i = 0;
    if (steps_ && steps_->even) {
      const auto first = hn::Set(d, steps_->first), step = hn::Set(d, steps_->step);
      for (; i + float_lanes <= count; i += float_lanes) {
        const auto code = hn::PromoteTo(d32, hn::LoadU(d8, codes + i));
        hn::StoreU(scale(hn::MulAdd(hn::ConvertTo(d, code), step, first)), d, out + i);
      }
    }
    for (; i + float_lanes <= count; i += float_lanes) {
      const auto index = hn::PromoteTo(d32, hn::LoadU(d8, codes + i));
      hn::StoreU(scale(hn::GatherIndex(d, table_, index)), d, out + i);
    }
    for (; i < count; ++i) out[i] = scale(table_[codes[i]]);
  }

  FourBitLookup lookup_;
  const float* table_;
  const EvenSteps* steps_;
};

/// Floats in place times their blocks' scales, for blocks shorter than a step.
template <class S>
HWY_INLINE void scale_in_place(float* x, Index count, S scale) {
  const FloatTag d;
  Index i = 0;
  for (; i + float_lanes <= count; i += float_lanes)
    hn::StoreU(apply(hn::LoadU(d, x + i), scale), d, x + i);
  for (; i < count; ++i) x[i] = apply(x[i], scale);
}

}  // namespace qlora::inline QLORA_ABI::simd

#endif  // QLORA_HAS_VECTORS
