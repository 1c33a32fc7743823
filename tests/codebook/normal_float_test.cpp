#include "qlora/codebook/normal_float.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "support/catch.hpp"

namespace {

// The published table (Dettmers et al. 2023, appendix E), as bitsandbytes prints it.
constexpr std::array published{-1.f,
                               -0.6961928009986877f,
                               -0.5250730514526367f,
                               -0.39491748809814453f,
                               -0.28444138169288635f,
                               -0.18477343022823334f,
                               -0.09105003625154495f,
                               0.f,
                               0.07958029955625534f,
                               0.16093020141124725f,
                               0.24611230194568634f,
                               0.33791524171829224f,
                               0.44070982933044434f,
                               0.5626170039176941f,
                               0.7229568362236023f,
                               1.f};

constexpr bool equal_bits() {
  for (std::size_t i = 0; i < 16; ++i)
    if (__builtin_bit_cast(unsigned, qlora::NF4::values[i]) !=
        __builtin_bit_cast(unsigned, published[i]))
      return false;
  return true;
}

}  // namespace

static_assert(equal_bits(), "NF4 is the published table, bit for bit, at compile time");

TEST_CASE("the quantile function inverts the normal distribution function") {
  for (double p = 1e-9; p < 1; p = p < 0.01 ? p * 1.7 : p + 0.0137) {
    const double z = qlora::normal_quantile(p);
    const double back = 0.5 * std::erfc(-z / std::sqrt(2.0));
    REQUIRE(std::abs(back - p) <= 1e-14 + 1e-13 * p);
  }
}

TEST_CASE("NormalFloats of all widths ascend from -1 through 0 to 1") {
  const auto check = [](const auto& values) {
    REQUIRE(values.front() == -1.f);
    REQUIRE(values.back() == 1.f);
    REQUIRE(values[values.size() / 2 - 1] == 0.f);
    REQUIRE(std::adjacent_find(values.begin(), values.end(),
                               [](float a, float b) { return a >= b; }) == values.end());
  };
  check(qlora::NF2::values);
  check(qlora::NF3::values);
  check(qlora::NF4::values);
  check(qlora::NormalFloat<5>::values);
  check(qlora::NF8::values);
}

TEST_CASE("an offset of one's own moves the quantiles") {
  using Mine = qlora::NormalFloat<4, __builtin_bit_cast(std::uint32_t, 0.99f)>;
  REQUIRE(Mine::values[14] <
          qlora::NF4::values[14]);  // a farther outermost quantile squeezes the rest
  REQUIRE(Mine::values[15] == 1.f);
}
