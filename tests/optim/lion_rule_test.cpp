#include "qlora/optim/lion_rule.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/law.hpp"

TEST_CASE("a step is the sign of the interpolated momentum times the rate, after the decay") {
  test::law("lion", [](std::int16_t momentum, std::int16_t gradient, bool decays) {
    double g = static_cast<double>(gradient) / 64, p = 1.5,
           s[1] = {static_cast<double>(momentum) / 64};
    const double m = s[0], c = 0.9 * m + 0.1 * g;
    RC_PRE(std::abs(c) > 1e-9 || (momentum == 0 && gradient == 0));
    const double sign = c > 0 ? 1 : c < 0 ? -1 : 0, decay = decays ? 0.2 : 0;
    qlora::LionRule().step<double>({.learning_rate = 0.5, .weight_decay = decay}, 3)(p, g, s);
    RC_ASSERT(std::abs(p - (1.5 * (1 - 0.5 * decay) - 0.5 * sign)) < 1e-12);
    RC_ASSERT(std::abs(s[0] - (0.99 * m + 0.01 * g)) < 1e-9);
  });
}
