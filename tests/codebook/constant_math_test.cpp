#include "qlora/codebook/constant_math.hpp"

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/law.hpp"

namespace {

bool near(double found, double expected, double relative, double absolute = 0) {
  return std::abs(found - expected) <= relative * std::abs(expected) + absolute;
}

// A number in [0, 1).
double unit(std::uint32_t at) { return static_cast<double>(at) / 4294967296.0; }

}  // namespace

static_assert(qlora::constant_log(1) == 0 && qlora::constant_sqrt(1) == 1 &&
              qlora::constant_exp(0) == 1 && qlora::constant_sin(0) == 0 &&
              qlora::constant_cos(0) == 1 && qlora::normal_within(0) == 0 &&
              qlora::normal_quantile(0.5) == 0);

TEST_CASE("the logarithm is that of <cmath>, from the smallest numbers to the largest") {
  test::law("log", [](std::uint32_t at, std::uint16_t power) {
    const double x = std::ldexp(1 + unit(at), power % 2045 - 1022);
    RC_ASSERT(near(qlora::constant_log(x), std::log(x), 4e-16, 4e-16));
  });
  const double least = std::numeric_limits<double>::denorm_min();
  REQUIRE(near(qlora::constant_log(least), std::log(least), 4e-16));
}

TEST_CASE("the square root is that of <cmath>") {
  test::law("sqrt", [](std::uint32_t at, std::int8_t power) {
    const double x = std::ldexp(1 + unit(at), power);
    RC_ASSERT(near(qlora::constant_sqrt(x), std::sqrt(x), 4e-16));
  });
  REQUIRE(qlora::constant_sqrt(0) < 1e-29);
}

TEST_CASE("the exponential is that of <cmath>, out to the ends of its range") {
  test::law("exp", [](std::int32_t at) {
    const double x = 700 * (static_cast<double>(at) / 2147483648.0);
    // k log 2 is rounded before it is taken off, to half of an ulp of 700.
    RC_ASSERT(near(qlora::constant_exp(x), std::exp(x), 3e-13));
  });
  REQUIRE(near(qlora::constant_exp(-700), std::exp(-700.0), 2e-13));
  REQUIRE(near(qlora::constant_exp(700), std::exp(700.0), 2e-13));
}

TEST_CASE("density and probability of the normal distribution fit together") {
  test::law("normal", [](std::uint32_t at) {
    const double x = 8 * unit(at);
    RC_ASSERT(near(qlora::normal_within(x), std::erf(x / std::sqrt(2.0)), 4e-15));
    RC_ASSERT(qlora::normal_density(-x) == qlora::normal_density(x));
    const double h = 1e-3, rise = qlora::normal_within(x + h) - qlora::normal_within(x);
    RC_ASSERT(near(2 * h * qlora::normal_density(x + h / 2), rise, 0, 1e-10));
  });
}

TEST_CASE("sine and cosine are those of <cmath> in the range that they are for") {
  test::law("angles", [](std::int32_t at) {
    const double x = 2 * (static_cast<double>(at) / 2147483648.0);
    RC_ASSERT(near(qlora::constant_sin(x), std::sin(x), 2e-15));
    RC_ASSERT(near(qlora::constant_cos(2 * x), std::cos(2 * x), 0, 4e-15));
  });
}

TEST_CASE("quantiles of p and 1 - p are opposite, and the tail ends where doubles do") {
  test::law("opposite", [](std::uint32_t at) {
    const double p = (static_cast<double>(at) + 1) / 4294967298.0;  // 1 - p is rounded
    const double exact = 1 - (1 - p);
    RC_ASSERT(qlora::normal_quantile(1 - exact) == -qlora::normal_quantile(exact));
  });
  // The values that the algorithm's author gives for checking.
  REQUIRE(near(qlora::normal_quantile(0.25), -0.6744897501960817, 1e-15));
  REQUIRE(near(qlora::normal_quantile(0.001), -3.090232306167814, 1e-15));
  REQUIRE(near(qlora::normal_quantile(1e-20), -9.262340089798408, 1e-15));
  for (const double p : {1e-12, 1e-30, 1e-100, 1e-300})
    REQUIRE(near(0.5 * std::erfc(-qlora::normal_quantile(p) / std::sqrt(2.0)), p, 1e-11));
}

TEST_CASE("functions end where doubles do, and never in another number") {
  for (const double x : {0.0, 1e-300, 1e-60, 2.0, 1e57, 1e60, 1e200, 1.7e308})
    REQUIRE(near(qlora::constant_sqrt(x), std::sqrt(x), 1e-15));
  REQUIRE(qlora::constant_sqrt(0) == 0);
  REQUIRE(std::isinf(qlora::constant_sqrt(std::numeric_limits<double>::infinity())));
  for (const double x : {0.5, 3.0, 7.0, 8.9, 9.1, 18.0, 30.0, 38.0, 1000.0})
    REQUIRE(near(qlora::normal_within(x), std::erf(x / std::sqrt(2.0)), 1e-14));
  for (const double x : {0.5, 30.0, 37.0})
    REQUIRE(near(qlora::normal_density(x), std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0)),
                 1e-12));
  REQUIRE(qlora::normal_density(38) == 0);
  REQUIRE(qlora::constant_exp(-1e9) == 0);
  REQUIRE(std::isinf(qlora::constant_exp(1e9)));
}

TEST_CASE("spaced points begin and end as told and mirror each other") {
  REQUIRE(qlora::spaced_point(1, 2, 1, 0) == 1);
  REQUIRE(qlora::spaced_point(0.25f, 0.75f, 3, 1) == 0.5f);
  test::law("spaced", [](std::int16_t a, std::int16_t b, std::uint8_t more) {
    const float start = static_cast<float>(a) / 997, end = static_cast<float>(b) / 991;
    const int steps = more + 2;
    RC_ASSERT(qlora::spaced_point(start, end, steps, 0) == start);
    RC_ASSERT(qlora::spaced_point(start, end, steps, steps - 1) == end);
    for (int i = 0; i < steps; ++i) {
      const float point = qlora::spaced_point(start, end, steps, i);
      if (2 * i + 1 != steps)
        RC_ASSERT(point == -qlora::spaced_point(-end, -start, steps, steps - 1 - i));
      const double exact = start + (static_cast<double>(end) - start) * i / (steps - 1);
      RC_ASSERT(
          near(static_cast<double>(point), exact, 0,
               2e-7 * (std::abs(static_cast<double>(start)) + std::abs(static_cast<double>(end)))));
    }
  });
}
