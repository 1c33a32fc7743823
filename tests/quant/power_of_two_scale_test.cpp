#include "qlora/quant/power_of_two_scale.hpp"

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::PowerOfTwoScale, qlora::RoundScale;

namespace {

template <class S>
float stored(float absmax, float value) {
  const auto storage = S::store(std::vector<float>{absmax}, value);
  return storage.view()(0);
}

}  // namespace

// OCP Microscaling 1.0, 6.3: the largest power of two not above absmax over the largest power of
// two not above the largest code value.
TEST_CASE("a scale is a power of two: OCP's when rounded down, the least that saturates none up") {
  test::law("powers", [](std::uint32_t bits, std::uint8_t steps) {
    const float absmax = __builtin_bit_cast(float, (bits & 0x3fffffffu) + 0x10000000u);
    const float value = 0.5f + static_cast<float>(steps) / 16;
    const auto floor_of = [](float x) { return std::ldexp(1.f, std::ilogb(x)); };
    const float down = stored<PowerOfTwoScale<>>(absmax, value);
    RC_ASSERT(down == floor_of(absmax) / floor_of(value));
    const float up = stored<PowerOfTwoScale<RoundScale::up>>(absmax, value);
    RC_ASSERT(up == floor_of(up));
    RC_ASSERT(absmax <= up * value);
    RC_ASSERT(absmax > up / 2 * value);
  });
}

TEST_CASE("zeros have the least scale, and scales beyond 2^127 are refused") {
  REQUIRE(stored<PowerOfTwoScale<>>(0.f, 6.f) == std::ldexp(1.f, -127));
  REQUIRE(stored<PowerOfTwoScale<>>(1e-44f, 6.f) == std::ldexp(1.f, -127));
  REQUIRE(stored<PowerOfTwoScale<>>(3e38f, 1.f) == std::ldexp(1.f, 127));
  const std::vector<float> too_large{1.f, 3e38f};
  REQUIRE(test::contains(test::message_of<qlora::NumericError>(
                             [&] { (void)PowerOfTwoScale<>::store(too_large, 0.25f); }),
                         "block 1: expected a scale of at most 2^127, found 2^129"));
}

TEST_CASE("only rounding down saturates, and only where the largest value is a power of two") {
  REQUIRE(PowerOfTwoScale<>::saturates(4.f));
  REQUIRE_FALSE(PowerOfTwoScale<>::saturates(6.f));
  REQUIRE_FALSE(PowerOfTwoScale<RoundScale::up>::saturates(4.f));
}
