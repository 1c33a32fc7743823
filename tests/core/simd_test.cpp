#include "qlora/core/simd.hpp"

#include <cstdint>
#include <cstring>

#include "support/catch.hpp"
#include "support/law.hpp"

#if QLORA_HAS_VECTORS

namespace simd = qlora::simd;
namespace hn = simd::hn;
using qlora::Index;

TEST_CASE("a vector holds as many floats as it is said to, and no lane is skipped") {
  const simd::FloatTag d;
  REQUIRE(static_cast<Index>(hn::Lanes(d)) == simd::float_lanes);
  REQUIRE(sizeof(simd::FloatVector) == simd::float_lanes * sizeof(float));
  float numbers[simd::float_lanes + 1], copy[simd::float_lanes + 1] = {};
  for (Index i = 0; i <= simd::float_lanes; ++i) numbers[i] = static_cast<float>(i + 1);
  hn::StoreU(hn::LoadU(d, numbers), d, copy);
  for (Index i = 0; i < simd::float_lanes; ++i) REQUIRE(copy[i] == numbers[i]);
  REQUIRE(copy[simd::float_lanes] == 0);
}

TEST_CASE("a rounded product is not fused into the sum behind it, lane by lane") {
  const simd::FloatTag d;
  // 1 + 2^-12 squared is 1 + 2^-11 + 2^-24, of which float keeps 1 + 2^-11.
  volatile float x = 1 + 0x1p-12f, rest = -1 - 0x1p-11f;
  const auto factor = hn::Set(d, x);
  float sums[simd::float_lanes], fused[simd::float_lanes];
  hn::StoreU(hn::Add(simd::rounded(hn::Mul(factor, factor)), hn::Set(d, rest)), d, sums);
  hn::StoreU(hn::MulAdd(factor, factor, hn::Set(d, rest)), d, fused);
  for (Index i = 0; i < simd::float_lanes; ++i) {
    REQUIRE(sums[i] == 0);
#if defined(__FMA__) || defined(__aarch64__)
    REQUIRE(fused[i] == 0x1p-24f);
#endif
  }
}

TEST_CASE("rounding a vector changes none of its bits, NaN and zeros included") {
  test::law("same bits", [](std::uint32_t seed) {
    std::uint32_t bits[simd::float_lanes], back[simd::float_lanes];
    for (Index i = 0; i < simd::float_lanes; ++i)
      bits[i] = i == 0   ? 0x80000000u
                : i == 1 ? 0x7fc12345u
                         : seed * 2654435761u * static_cast<std::uint32_t>(i + 1);
    const simd::FloatTag d;
    float numbers[simd::float_lanes];
    std::memcpy(numbers, bits, sizeof(bits));
    hn::StoreU(simd::rounded(hn::LoadU(d, numbers)), d, numbers);
    std::memcpy(back, numbers, sizeof(bits));
    for (Index i = 0; i < simd::float_lanes; ++i) RC_ASSERT(back[i] == bits[i]);
  });
}

#endif
