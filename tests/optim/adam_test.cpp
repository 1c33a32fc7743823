#include "qlora/optim/adam.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXd;

namespace {

qlora::Parameter<double> parameter(Index rows, Index cols, std::uint64_t seed) {
  qlora::Parameter<double> p("p", rows, cols);
  p.value = test::normal_matrix<double>(rows, cols, seed);
  return p;
}

}  // namespace

// The published algorithm (Loshchilov and Hutter 2019, algorithm 2) with bias-corrected moments,
// one number at a time.
TEST_CASE("AdamW follows the published algorithm over many steps, with and without weight decay") {
  for (const double decay : {0.0, 0.1}) {
    auto p = parameter(3, 4, 1);
    RowMatrixXd value = p.value, m = RowMatrixXd::Zero(3, 4), v = m;
    qlora::AdamW<qlora::NumberState<double>> optimizer(
        {.learning_rate = 0.01, .weight_decay = decay});
    for (int t = 1; t <= 50; ++t) {
      p.grad = test::normal_matrix<double>(3, 4, 100 + static_cast<std::uint64_t>(t), 0.01);
      for (Index i = 0; i < 12; ++i) {
        const double g = p.grad.data()[i];
        m.data()[i] = 0.9 * m.data()[i] + 0.1 * g;
        v.data()[i] = 0.999 * v.data()[i] + 0.001 * g * g;
        const double m_hat = m.data()[i] / (1 - std::pow(0.9, t)),
                     v_hat = v.data()[i] / (1 - std::pow(0.999, t));
        value.data()[i] *= 1 - 0.01 * decay;
        value.data()[i] -= 0.01 * m_hat / (std::sqrt(v_hat) + 1e-8);
      }
      optimizer.step(qlora::ParameterList<double>{&p});
      REQUIRE((p.value - value).cwiseAbs().maxCoeff() < 1e-12);
    }
    REQUIRE(optimizer.steps() == 50);
  }
}

TEST_CASE("the learning rate may change between steps") {
  auto p = parameter(1, 1, 1);
  const double before = p.value(0, 0);
  qlora::AdamW<qlora::NumberState<double>> optimizer({.learning_rate = 0.5});
  p.grad(0, 0) = 3;
  optimizer.options().learning_rate = 0;
  optimizer.step(qlora::ParameterList<double>{&p});
  REQUIRE(p.value(0, 0) == before);
  optimizer.options().learning_rate = 0.25;  // a constant gradient moves by the rate itself
  optimizer.step(qlora::ParameterList<double>{&p});
  REQUIRE(std::abs(before - p.value(0, 0) - 0.25) < 1e-8);
}

TEST_CASE("another list or another shape than in the first step is refused") {
  auto p = parameter(2, 2, 1), q = parameter(2, 3, 2);
  qlora::AdamW<qlora::NumberState<double>> optimizer;
  optimizer.step(qlora::ParameterList<double>{&p});
  REQUIRE_THROWS_AS(optimizer.step(qlora::ParameterList<double>{&p, &q}), qlora::ShapeError);
  REQUIRE_THROWS_AS(optimizer.step(qlora::ParameterList<double>{&q}), qlora::ShapeError);
}
