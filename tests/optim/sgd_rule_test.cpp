#include "qlora/optim/sgd_rule.hpp"

#include <cmath>

#include "support/catch.hpp"

TEST_CASE("a constant gradient piles up to 1 / (1 - momentum) of itself") {
  double p = 0, s[1] = {};
  const auto step = qlora::SgdRule().step<double>({.learning_rate = 1, .momentum = 0.5}, 1);
  double before = 0;
  for (int t = 0; t < 60; ++t) {
    before = p;
    double g = 3;
    step(p, g, s);
  }
  REQUIRE(std::abs(before - p - 6) < 1e-12);
}

TEST_CASE("decay is a gradient of its own") {
  double p = 4, g = 0, s[1] = {};
  qlora::SgdRule().step<double>({.learning_rate = 0.5, .weight_decay = 0.25}, 1)(p, g, s);
  REQUIRE(p == 3.5);
  REQUIRE(s[0] == 1);
}
