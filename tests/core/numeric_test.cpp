#include "qlora/core/numeric.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/law.hpp"

using qlora::bfloat16;
using qlora::float16;

TEST_CASE("every float16 converts to float and back to the same bits") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto h = float16::from_bits(static_cast<std::uint16_t>(bits));
    const float value = h;
    if (std::isnan(value)) {
      REQUIRE(std::isnan(float{float16(value)}));
    } else {
      REQUIRE(float16(value).bits == bits);
    }
  }
}

TEST_CASE("every bfloat16 converts to float and back to the same bits") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = bfloat16::from_bits(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) {
      REQUIRE(std::isnan(float{bfloat16(value)}));
    } else {
      REQUIRE(bfloat16(value).bits == bits);
    }
  }
}

#if defined(__FLT16_MAX__)
TEST_CASE("float to float16 rounds as the compiler's own half type does") {
  test::law("equal bits", [](std::uint32_t bits) {
    const float value = __builtin_bit_cast(float, bits);
    const auto expected = __builtin_bit_cast(std::uint16_t, static_cast<_Float16>(value));
    if (std::isnan(value)) {
      RC_ASSERT(std::isnan(float{float16(value)}));
    } else {
      RC_ASSERT(float16(value).bits == expected);
    }
  });
  // Small exponents are rare among random bits: step through all of float16's range.
  for (std::uint32_t bits = 0x32000000u; bits < 0x48000000u; bits += 977) {
    const float value = __builtin_bit_cast(float, bits);
    REQUIRE(float16(value).bits == __builtin_bit_cast(std::uint16_t, static_cast<_Float16>(value)));
    REQUIRE(float16(-value).bits ==
            __builtin_bit_cast(std::uint16_t, static_cast<_Float16>(-value)));
  }
}
#endif

TEST_CASE("float to bfloat16 takes the nearer neighbour, ties to the even one") {
  test::law("nearest even", [](std::uint32_t bits) {
    const float value = __builtin_bit_cast(float, bits);
    // The largest bfloat16 has no finite neighbour above: there the rule is about exponents.
    RC_PRE(std::isfinite(value) && std::abs(value) < 3.3e38f);
    const auto low = bfloat16::from_bits(static_cast<std::uint16_t>(bits >> 16));
    const auto high = bfloat16::from_bits(static_cast<std::uint16_t>((bits >> 16) + 1));
    const double to_low = std::abs(static_cast<double>(value) - static_cast<double>(float{low}));
    const double to_high = std::abs(static_cast<double>(value) - static_cast<double>(float{high}));
    const auto expected =
        to_low != to_high ? (to_low < to_high ? low : high) : ((low.bits & 1u) == 0 ? low : high);
    RC_ASSERT(bfloat16(value).bits == expected.bits);
  });
}

TEST_CASE("float16 of what is too large is infinite, of what is too small zero") {
  REQUIRE(float16(65519.996f).bits == 0x7bff);
  REQUIRE(float16(65520.f).bits == 0x7c00);
  REQUIRE(float16(-1e30f).bits == 0xfc00);
  REQUIRE(float16(2.98023224e-8f).bits == 0);  // half of the smallest subnormal ties to even
  REQUIRE(float16(2.98023260e-8f).bits == 1);
  REQUIRE(float16(-0.f).bits == 0x8000);
}

TEST_CASE("is_finite and magnitude look at the bits") {
  const float infinity = std::numeric_limits<float>::infinity();
  REQUIRE(qlora::is_finite(std::numeric_limits<float>::max()));
  REQUIRE_FALSE(qlora::is_finite(infinity));
  REQUIRE_FALSE(qlora::is_finite(-infinity));
  REQUIRE_FALSE(qlora::is_finite(std::numeric_limits<float>::quiet_NaN()));
  REQUIRE(qlora::magnitude(-2.5f) == 2.5f);
  REQUIRE_FALSE(std::signbit(qlora::magnitude(-0.f)));
}

TEST_CASE("e4m3 rounds to the nearest of its values, ties to even, and saturates") {
  for (int bits = 0; bits < 127; ++bits) {
    const float value = qlora::e4m3::from_bits(static_cast<std::uint8_t>(bits));
    REQUIRE(qlora::e4m3(value).bits == bits);
    REQUIRE(qlora::e4m3(-value).bits == bits + 128);
    if (bits == 126) break;
    const float next = qlora::e4m3::from_bits(static_cast<std::uint8_t>(bits + 1));
    const float middle = (value + next) / 2;
    REQUIRE(qlora::e4m3(middle).bits == (bits % 2 == 0 ? bits : bits + 1));
    REQUIRE(qlora::e4m3(std::nextafter(middle, 0.f)).bits == bits);
    REQUIRE(qlora::e4m3(std::nextafter(middle, 1e9f)).bits == bits + 1);
  }
  REQUIRE(static_cast<float>(qlora::e4m3(1e9f)) == 448.f);
  REQUIRE(static_cast<float>(qlora::e4m3(465.f)) == 448.f);
  REQUIRE(std::isnan(static_cast<float>(qlora::e4m3(std::nanf("")))));
}

TEST_CASE("e8m0 is a power of two, 255 is NaN") {
  for (int bits = 0; bits < 255; ++bits)
    REQUIRE(static_cast<float>(qlora::e8m0::from_bits(static_cast<std::uint8_t>(bits))) ==
            std::ldexp(1.f, bits - 127));
  REQUIRE(std::isnan(static_cast<float>(qlora::e8m0::from_bits(255))));
}

TEST_CASE("numbers are all finite unless one is not, wherever it stands") {
  const auto check = [](auto zero) {
    using T = decltype(zero);
    std::vector<T> x(37, T(-1e30));
    REQUIRE(qlora::all_finite(x.data(), 37));
    REQUIRE(qlora::all_finite(x.data(), 0));
    for (const T bad : {std::numeric_limits<T>::infinity(), -std::numeric_limits<T>::infinity(),
                        std::numeric_limits<T>::quiet_NaN()})
      for (std::size_t i = 0; i < x.size(); ++i) {
        auto y = x;
        y[i] = bad;
        REQUIRE_FALSE(qlora::all_finite(y.data(), 37));
      }
    x[5] = std::numeric_limits<T>::max();
    REQUIRE(qlora::all_finite(x.data(), 37));
  };
  check(0.f);
  check(0.0);
}

TEST_CASE("the largest narrow numbers are exact, and what rounds beyond them is infinite") {
  REQUIRE(qlora::float16(qlora::float16::largest).bits == 0x7bff);
  REQUIRE(qlora::bfloat16(qlora::bfloat16::largest).bits == 0x7f7f);
  REQUIRE(static_cast<float>(qlora::float16::from_bits(0x7bff)) == qlora::float16::largest);
  REQUIRE(static_cast<float>(qlora::bfloat16::from_bits(0x7f7f)) == qlora::bfloat16::largest);
  REQUIRE(qlora::float16(65519.f).bits == 0x7bff);
  REQUIRE(qlora::float16(65520.f).bits == 0x7c00);
  REQUIRE(qlora::float16(1e6f).bits == 0x7c00);
  REQUIRE(qlora::bfloat16(qlora::largest_float).bits == 0x7f80);
  REQUIRE(qlora::largest_float == std::numeric_limits<float>::max());
}
