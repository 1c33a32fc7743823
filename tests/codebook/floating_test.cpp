#include "qlora/codebook/floating.hpp"

#include <cmath>

#include "support/catch.hpp"

using qlora::FP4;

TEST_CASE("FP4 holds bitsandbytes' sixteen values in code order, the sign in bit 3") {
  const float magnitudes[8] = {0, 1 / 192.f, 2 / 3.f, 1, 1 / 3.f, 0.5f, 1 / 6.f, 0.25f};
  for (int code = 0; code < 8; ++code) {
    // The published values are decimals of eight digits.
    REQUIRE(std::abs(FP4::values[static_cast<std::size_t>(code)] - magnitudes[code]) < 5e-8f);
    REQUIRE(FP4::values[static_cast<std::size_t>(code + 8)] ==
            -FP4::values[static_cast<std::size_t>(code)]);
  }
}

TEST_CASE("around zero FP4 takes code 0 up to zero and code 8 above it") {
  REQUIRE(qlora::encode<FP4>(0.f) == 0);
  REQUIRE(qlora::encode<FP4>(-0.0025f) == 0);
  REQUIRE(qlora::encode<FP4>(1e-30f) == 8);
  REQUIRE(qlora::encode<FP4>(0.0025f) == 8);
  REQUIRE(qlora::encode<FP4>(0.0027f) == 1);
  REQUIRE(qlora::encode<FP4>(-0.0027f) == 9);
}
