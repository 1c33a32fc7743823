#include "qlora/optim/schedule_free_rule.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/law.hpp"

using Rule = qlora::ScheduleFreeAdamWRule;

TEST_CASE("the average's share of the newest iterate is 1 / t for equal rates") {
  Rule rule;
  // With beta2 = 0 rates are not corrected, so that they are equal.
  const Rule::Options options{.learning_rate = 0.5, .beta2 = 0};
  for (int t = 1; t <= 20; ++t) {
    const double share = rule.step<double>(options, t).c;
    REQUIRE(std::abs(share - 1.0 / t) < 1e-12);
  }
}

TEST_CASE("the way to the average and back ends where it began") {
  test::law("shares", [](std::uint8_t steps, std::int16_t y, std::int16_t z) {
    Rule rule;
    (void)rule.step<double>({.beta1 = (static_cast<double>(steps) + 1) / 257}, 1);
    const double from = y / 64.0, iterate = z / 64.0;
    const double x = from + rule.share_to_average() * (iterate - from);
    // y = (1 - b1) z + b1 x.
    RC_ASSERT(std::abs((1 - rule.beta1) * iterate + rule.beta1 * x - from) < 1e-9);
    RC_ASSERT(std::abs(x + rule.share_to_iterate() * (iterate - x) - from) < 1e-9);
  });
}

TEST_CASE("the first step starts the iterate at the parameter") {
  Rule rule;
  double y = 2, g = 5, s[2] = {-7, 0};
  rule.step<double>({.learning_rate = 0.5, .beta2 = 0}, 1)(y, g, s);
  // g / sqrt(v) is 1, c is 1: z = 2 - 0.5, and y is z as the average is.
  REQUIRE(std::abs(s[0] - 1.5) < 1e-8);
  REQUIRE(std::abs(y - 1.5) < 1e-8);
}

TEST_CASE("a beta1 that gives no average, or that changes, is refused") {
  Rule rule;
  REQUIRE_THROWS_AS(rule.step<float>({.beta1 = 1}, 1), qlora::OptionError);
  REQUIRE_THROWS_AS(rule.step<float>({.beta1 = std::nan("")}, 1), qlora::OptionError);
  REQUIRE(rule.step<float>({.beta1 = 0.8}, 1).first);
  REQUIRE_THROWS_AS(rule.step<float>({.beta1 = 0.9}, 2), qlora::OptionError);
  REQUIRE_FALSE(rule.step<float>({.beta1 = 0.8}, 2).first);
}
