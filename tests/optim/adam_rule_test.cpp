#include "qlora/optim/adam_rule.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/law.hpp"

using qlora::AdamRule, qlora::AdamWRule, qlora::Decay, qlora::Index;

TEST_CASE("a first step moves by the learning rate against the gradient, whatever its size") {
  test::law("first step", [](std::int16_t steps) {
    RC_PRE(steps != 0);
    double g = static_cast<double>(steps) / 7, p = 1, s[2] = {};
    const double sign = g > 0 ? 1 : -1;
    AdamWRule().step<double>({.learning_rate = 0.25}, 1)(p, g, s);
    RC_ASSERT(std::abs(p - (1 - 0.25 * sign)) < 1e-6);
  });
}

TEST_CASE("decoupled decay shrinks the parameter, coupled decay adds to the gradient") {
  const double lr = 0.1, decay = 0.5;
  double p = 2, g = 0, s[2] = {};
  AdamWRule().step<double>({.learning_rate = lr, .weight_decay = decay}, 1)(p, g, s);
  REQUIRE(std::abs(p - 2 * (1 - lr * decay)) < 1e-15);
  REQUIRE(s[0] == 0);
  p = 2;
  using Adam = AdamRule<Decay::coupled>;
  Adam().step<double>({.learning_rate = lr, .weight_decay = decay}, 1)(p, g, s);
  REQUIRE(std::abs(p - 1.9) < 1e-6);  // a gradient of 1, so a whole step
  REQUIRE(std::abs(s[0] - 0.1) < 1e-15);
}

TEST_CASE("corrections fade: after many steps the rate is the learning rate itself") {
  const auto late = AdamWRule().step<double>({.learning_rate = 0.5}, 100000);
  REQUIRE(std::abs(late.rate + 0.5) < 1e-12);
  REQUIRE(std::abs(late.epsilon / 1e-8 - 1) < 1e-12);
}
