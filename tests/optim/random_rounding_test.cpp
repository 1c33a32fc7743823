#include "qlora/optim/random_rounding.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"

using qlora::bfloat16;
using qlora::round_by_chance;

// A float lies f / 65536 of the way between two bfloat16, f its lower 16 bits: f of all 65536 draws
// must go up.
TEST_CASE("the mean over all draws is the number itself, of either sign") {
  for (const float value : {1.f + 0x1p-9f, -0.3f, 3e-20f, -1e-40f, 123.456f}) {
    std::uint32_t away = 0;
    const auto bits = __builtin_bit_cast(std::uint32_t, value);
    for (std::uint32_t draw = 0; draw < 65536; ++draw) {
      const std::uint32_t got = round_by_chance(value, static_cast<std::uint16_t>(draw)).bits;
      REQUIRE((got == bits >> 16 || got == (bits >> 16) + 1));
      away += got - (bits >> 16);
    }
    REQUIRE(away == (bits & 0xffffu));
  }
}

TEST_CASE("what bfloat16 holds stays, and nothing finite becomes infinite") {
  for (const float value : {0.f, -0.f, 1.f, -2.5f, std::numeric_limits<float>::infinity()})
    for (const std::uint16_t draw : std::vector<std::uint16_t>{0, 1, 32768, 65535})
      REQUIRE(round_by_chance(value, draw).bits == bfloat16(value).bits);
  REQUIRE(std::isnan(static_cast<float>(round_by_chance(std::nanf(""), 65535))));
  const float largest = std::numeric_limits<float>::max();
  REQUIRE(std::isfinite(static_cast<float>(round_by_chance(largest, 65535))));
  REQUIRE(std::isfinite(static_cast<float>(round_by_chance(-largest, 65535))));
}

TEST_CASE("an element's draw depends on its place, not on the run it is computed in") {
  const std::vector<float> x(40, 1.f + 0x1p-9f);
  std::vector<bfloat16> whole(40), parts(40);
  round_by_chance(x.data(), 40, {7, 16}, whole.data());
  round_by_chance(x.data(), 24, {7, 16}, parts.data());
  round_by_chance(x.data() + 24, 16, {7, 40}, parts.data() + 24);
  int up = 0;
  for (std::size_t i = 0; i < 40; ++i) {
    REQUIRE(whole[i].bits == parts[i].bits);
    up += whole[i].bits != bfloat16(1.f).bits;
  }
  REQUIRE(up > 0);
  REQUIRE(up < 40);
}
