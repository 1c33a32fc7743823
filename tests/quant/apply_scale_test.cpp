#include "qlora/quant/apply_scale.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/law.hpp"

using qlora::ScaleAndOffset, qlora::scaled, qlora::TwoFactors, qlora::unscaled;

TEST_CASE("product and sum are rounded apart, never fused") {
  // 1 + 2^-12 squared is 1 + 2^-11 + 2^-24, of which float keeps 1 + 2^-11.
  volatile float x = 1 + 0x1p-12f;
  REQUIRE(scaled(x, ScaleAndOffset{x, -1 - 0x1p-11f}) == 0);
  REQUIRE(std::fma(x, x, -1 - 0x1p-11f) == 0x1p-24f);
}

TEST_CASE("two factors are applied one after the other") {
  volatile float a = 1.1f, b = 1.3f, value = 1.7f;
  volatile float first = value * a;
  REQUIRE(scaled(value, TwoFactors{a, b}) == first * b);
}

TEST_CASE("unscaled undoes scaled to a rounding, and is 0 where the scale is") {
  test::law("inverse", [](std::int16_t value, std::uint16_t steps) {
    const float scale = static_cast<float>(steps + 1) / 997, x = static_cast<float>(value) / 64;
    RC_ASSERT(std::abs(unscaled(scaled(x, scale), scale) - x) <= std::abs(x) * 2e-7f);
    const TwoFactors two{scale, 0.37f};
    RC_ASSERT(std::abs(unscaled(scaled(x, two), two) - x) <= std::abs(x) * 4e-7f);
    RC_ASSERT(unscaled(x, 0.f) == 0);
    RC_ASSERT(unscaled(x, TwoFactors{0.f, 1.f}) == 0);
  });
}
