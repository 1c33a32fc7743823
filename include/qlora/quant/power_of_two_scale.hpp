/// Scales that are powers of two in a byte (E8M0), as in MXFP4. OCP Microscaling Formats
/// Specification 1.0, 2023.
///
///     using MxFp4 = qlora::BlockFormat<qlora::E2M1, 32, qlora::PowerOfTwoScale<>>;
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/quant/scale.hpp"

namespace qlora::inline QLORA_ABI {

/// How an exponent is chosen. down: floor(log2 absmax) - floor(log2 largest code value), OCP's
/// rule; the largest weights of a block may saturate. up: the least exponent at which none does.
enum class RoundScale { down, up };

/// `store` throws NumericError for a scale beyond 2^127.
template <RoundScale Rounding = RoundScale::down>
struct PowerOfTwoScale {
  static constexpr double bits_per_scale = 8;
  static constexpr bool codes_follow_stored = true, stores_no_sign = true;
  static constexpr float largest_scale = 1.70141183e38f;  // 2^127

  struct View {
    const std::uint8_t* exponents = nullptr;
    QLORA_HD float operator()(Index block) const { return e8m0::from_bits(exponents[block]); }
    template <class Move>
    View relocated(Index count, Move&& move) const {
      return {move(exponents, count)};
    }
  };

  struct Storage {
    std::vector<std::uint8_t> exponents;
    View view() const& { return {exponents.data()}; }
    View view() const&& = delete;
    Index size() const { return static_cast<Index>(exponents.size()); }
    Index bytes() const { return static_cast<Index>(exponents.size()); }
    template <class Archive>
    void describe(Archive& archive, Index count) {
      archive.array("absmax", exponents, count);
    }
  };

  /// Whether rounding down leaves no room: where the largest code value is itself a power of two.
  static constexpr bool saturates(float largest) {
    return Rounding == RoundScale::down &&
           (__builtin_bit_cast(std::uint32_t, largest) & 0x7fffffu) == 0;
  }

  /// One exponent per reference; `value` is the code value that a reference maps to. Throws
  /// NumericError, naming the block, for a scale above 2^127.
  static Storage store(std::span<const float> references, float value = 1) {
    Storage storage;
    storage.exponents.reserve(references.size());
    for (const float absmax : references) {
      // Subnormal numbers count as 2^-127: the exponent is clamped there anyway.
      int exponent = field(absmax) - field(value);
      if (Rounding == RoundScale::up && exponent <= 127 &&
          absmax > value * e8m0::from_bits(byte(exponent)))
        ++exponent;
      require<NumericError>(exponent <= 127, "quantize: block ", storage.exponents.size(),
                            ": expected a scale of at most 2^127, found 2^", exponent);
      storage.exponents.push_back(absmax > 0 ? byte(exponent) : std::uint8_t{0});
    }
    return storage;
  }

 private:
  static constexpr int field(float x) {
    return static_cast<int>(__builtin_bit_cast(std::uint32_t, x) >> 23);
  }
  static constexpr std::uint8_t byte(int exponent) {
    return static_cast<std::uint8_t>((exponent < -127 ? -127 : exponent) + 127);
  }
};

}  // namespace qlora::inline QLORA_ABI
