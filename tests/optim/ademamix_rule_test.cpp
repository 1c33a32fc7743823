#include "qlora/optim/ademamix_rule.hpp"

#include <cmath>

#include "support/catch.hpp"

using qlora::Index;

TEST_CASE("the slow average's half-life grows from beta1's to beta3's, never beyond") {
  const qlora::AdemamixRule rule;
  const qlora::AdemamixRule::Options options{.warmup = 100};
  double before = 0;
  for (const Index t : {1, 2, 10, 50, 99, 100, 200}) {
    const double slow = rule.step<double>(options, t).b3;
    REQUIRE(slow > 0.9);
    REQUIRE(slow >= before);
    REQUIRE(slow <= options.beta3);
    before = slow;
  }
  REQUIRE(before == options.beta3);
  // Half-way the half-life ln 2 / -ln b is half-way between the two.
  const auto half_life = [](double b) { return -1 / std::log(b); };
  const double middle = half_life(rule.step<double>(options, 50).b3);
  REQUIRE(std::abs(middle / ((half_life(0.9) + half_life(0.9999)) / 2) - 1) < 1e-9);
}

TEST_CASE("without a slow average AdEMAMix is AdamW with its decay after the step") {
  qlora::AdemamixRule::Options options{.learning_rate = 0.5, .alpha = 0};
  const auto step = qlora::AdemamixRule().step<double>(options, 1);
  double p = 2, g = 3, s[3] = {};
  step(p, g, s);
  REQUIRE(std::abs(p - 1.5) < 1e-8);  // the first step moves by the learning rate
  REQUIRE(std::abs(s[0] - 0.3) < 1e-15);
  REQUIRE(std::abs(s[2] - 0.009) < 1e-15);
}
