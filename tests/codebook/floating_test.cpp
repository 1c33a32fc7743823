#include "qlora/codebook/floating.hpp"

#include <cmath>

#include <array>
#include <utility>

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

TEST_CASE("OCP's types hold their finite values, and ties go to the even fraction") {
  REQUIRE(qlora::E2M1::values == std::array<float, 16>{0.f, 0.5f, 1.f, 1.5f, 2.f, 3.f, 4.f, 6.f,
                                                       -0.f, -0.5f, -1.f, -1.5f, -2.f, -3.f, -4.f,
                                                       -6.f});
  REQUIRE(qlora::code_count<qlora::E4M3> == 254);
  REQUIRE(qlora::largest_value<qlora::E4M3> == 448.f);
  REQUIRE(qlora::code_count<qlora::E5M2> == 248);
  REQUIRE(qlora::largest_value<qlora::E5M2> == 57344.f);
  REQUIRE(qlora::E4M3::values[1] == 0.001953125f);  // the subnormal 2^-9
  for (const auto& [x, nearest] : {std::pair{0.25f, 0.f},
                                   {0.75f, 1.f},
                                   {1.25f, 1.f},
                                   {1.75f, 2.f},
                                   {2.5f, 2.f},
                                   {3.5f, 4.f},
                                   {5.f, 4.f}}) {
    REQUIRE(qlora::decode<qlora::E2M1>(qlora::encode<qlora::E2M1>(x)) == nearest);
    REQUIRE(qlora::decode<qlora::E2M1>(qlora::encode<qlora::E2M1>(-x)) == -nearest);
  }
}

TEST_CASE("zero is +0, and small negatives are -0") {
  REQUIRE(qlora::encode<qlora::E2M1>(0.f) == 0);
  REQUIRE(qlora::encode<qlora::E2M1>(-0.f) == 0);
  REQUIRE(qlora::encode<qlora::E2M1>(-0.1f) == 8);
  REQUIRE(qlora::encode<qlora::E3M0>(0.f) == 0);
}
