#include "qlora/optim/lion.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index, qlora::RowMatrixXd;

// Chen et al. 2023, algorithm 2, one number at a time.
TEST_CASE("Lion follows the published algorithm over many steps, with and without weight decay") {
  for (const double decay : {0.0, 0.1}) {
    qlora::Parameter<double> p("p", 3, 4);
    p.value = test::normal_matrix<double>(3, 4, 1);
    RowMatrixXd value = p.value, m = RowMatrixXd::Zero(3, 4);
    qlora::Lion<qlora::NumberState<double>> optimizer(
        {.learning_rate = 0.01, .weight_decay = decay});
    for (int t = 1; t <= 50; ++t) {
      p.grad = test::normal_matrix<double>(3, 4, 100 + static_cast<std::uint64_t>(t), 0.01);
      for (Index i = 0; i < 12; ++i) {
        const double g = p.grad.data()[i], c = 0.9 * m.data()[i] + 0.1 * g;
        const double sign = c > 0 ? 1 : c < 0 ? -1 : 0;
        value.data()[i] -= 0.01 * (sign + decay * value.data()[i]);
        m.data()[i] = 0.99 * m.data()[i] + 0.01 * g;
      }
      REQUIRE(optimizer.step(qlora::ParameterList<double>{&p}));
      REQUIRE((p.value - value).cwiseAbs().maxCoeff() < 1e-12);
    }
  }
}

TEST_CASE("a gradient of 0 from the start moves nothing, any other a whole learning rate") {
  qlora::Parameter<float> p("p", 1, 3);
  p.grad << 0.f, 1e-30f, -1e30f;
  qlora::Lion<> optimizer({.learning_rate = 0.5});
  REQUIRE(optimizer.step(qlora::ParameterList<float>{&p}));
  REQUIRE(p.value(0, 0) == 0);
  REQUIRE(p.value(0, 1) == -0.5f);
  REQUIRE(p.value(0, 2) == 0.5f);
}
