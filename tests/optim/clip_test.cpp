#include "qlora/optim/clip.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/numbers.hpp"

namespace {

qlora::Parameter<double> with_gradient(double a, double b) {
  qlora::Parameter<double> p("p", 1, 2);
  p.grad << a, b;
  return p;
}

}  // namespace

TEST_CASE("gradients are multiplied by max / (norm + 1e-6) over all parameters together") {
  auto p = with_gradient(3, 0), q = with_gradient(0, 4);
  REQUIRE(qlora::gradient_norm<double>({&p, &q}) == 5);
  REQUIRE(qlora::clip_gradients<double>({&p, &q}, 1) == 5);
  REQUIRE(p.grad(0, 0) == 3 * (1 / (5 + 1e-6)));
  REQUIRE(q.grad(0, 1) == 4 * (1 / (5 + 1e-6)));
}

TEST_CASE("gradients below the limit stay, and a limit of 0 means none") {
  auto p = with_gradient(3, 4);
  qlora::clip_gradients<double>({&p}, 6);
  REQUIRE(p.grad(0, 0) == 3);
  qlora::clip_gradients<double>({&p}, 0);
  REQUIRE(p.grad(0, 1) == 4);
  REQUIRE(qlora::clip_gradients<double>({}, 1) == 0);
}

TEST_CASE("numbers beyond the limit go to it, NaN stays, and a limit of 0 means none") {
  auto p = with_gradient(3, -0.25), q = with_gradient(-7, std::nan(""));
  qlora::clip_gradient_values<double>({&p, &q}, 0);
  REQUIRE(q.grad(0, 0) == -7);
  qlora::clip_gradient_values<double>({&p, &q}, 0.5);
  REQUIRE(p.grad(0, 0) == 0.5);
  REQUIRE(p.grad(0, 1) == -0.25);
  REQUIRE(q.grad(0, 0) == -0.5);
  REQUIRE(std::isnan(q.grad(0, 1)));
}
