#include "qlora/nn/activation.hpp"

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/gradient.hpp"
#include "support/numbers.hpp"

using qlora::RowMatrixXd;
using qlora::RowMatrixXf;

namespace {

// A user's own, which is no template.
struct Square {
  static double value(double z) { return z * z; }
  static double slope(double z) { return 2 * z; }
};

template <class Function>
void gradient_is_right() {
  const qlora::Activation<Function, double> layer;
  RowMatrixXd x = 2 * test::normal_matrix<double>(4, 9, 1);
  const RowMatrixXd weight = test::normal_matrix<double>(4, 9, 2);
  const RowMatrixXd dx = layer.backward(weight, layer.forward(x).saved);
  REQUIRE(test::gradient_error(
              x, dx, [&] { return layer.forward(x).out.cwiseProduct(weight).sum(); }) == "");
}

template <class Function>
float at(float z) {
  return qlora::Activation<Function>().forward(RowMatrixXf::Constant(1, 1, z)).out(0, 0);
}

}  // namespace

TEST_CASE("the gradients of activations agree with central differences, a user's own too") {
  gradient_is_right<qlora::ReluFunction>();
  gradient_is_right<qlora::GeluFunction>();
  gradient_is_right<qlora::GeluTanhFunction>();
  gradient_is_right<qlora::SiluFunction>();
  gradient_is_right<Square>();
}

TEST_CASE("values are those of the formulas") {
  REQUIRE(at<qlora::ReluFunction>(-1.5f) == 0.f);
  REQUIRE(at<qlora::ReluFunction>(1.5f) == 1.5f);
  // 1.5 times the normal distribution's share below 1.5, which is 0.9331928 in any table.
  REQUIRE(std::abs(at<qlora::GeluFunction>(1.5f) - 1.5f * 0.9331928f) < 1e-6f);
  REQUIRE(std::abs(at<qlora::GeluFunction>(-1.5f) + 1.5f * 0.0668072f) < 1e-6f);
  // The approximation is within 5e-4 of it (Hendrycks and Gimpel), but not the same.
  const float near = std::abs(at<qlora::GeluTanhFunction>(1.5f) - at<qlora::GeluFunction>(1.5f));
  REQUIRE(near < 5e-4f);
  REQUIRE(near > 1e-6f);
  REQUIRE(std::abs(at<qlora::SiluFunction>(1.f) - 1 / (1 + std::exp(-1.f))) < 1e-6f);
}

TEST_CASE("large numbers stay finite and NaN stays NaN, forward and backward") {
  const auto check = [](const auto& layer) {
    RowMatrixXf x(1, 5);
    x << -1e30f, -1000.f, 0.f, 1000.f, 1e30f;
    const auto [out, saved] = layer.forward(x);
    REQUIRE(out.allFinite());
    REQUIRE(out(0, 4) == 1e30f);
    REQUIRE(std::abs(out(0, 1)) < 1e-30f);
    const RowMatrixXf dx = layer.backward(RowMatrixXf::Ones(1, 5), saved);
    REQUIRE(dx.allFinite());
    REQUIRE(dx(0, 4) == 1.f);
    REQUIRE(dx(0, 0) == 0.f);
    const RowMatrixXf nan = RowMatrixXf::Constant(1, 1, std::numeric_limits<float>::quiet_NaN());
    REQUIRE(std::isnan(layer.forward(nan).out(0, 0)));
  };
  check(qlora::Relu<>());
  check(qlora::Gelu<>());
  check(qlora::GeluTanh<>());
  check(qlora::Silu<>());
}

TEST_CASE("outputs of another shape are refused, and parts of matrices are taken") {
  const qlora::Relu<> relu;
  RowMatrixXf x = -RowMatrixXf::Ones(3, 4), y = RowMatrixXf::Ones(3, 4), other(4, 3);
  REQUIRE_THROWS_AS(relu.forward(x, other), qlora::ShapeError);
  REQUIRE_THROWS_AS(relu.backward(x, other, y), qlora::ShapeError);
  REQUIRE_THROWS_AS(relu.backward(x, y, other), qlora::ShapeError);
  REQUIRE(y.isConstant(1));
  relu.forward(x.middleCols(1, 2), y.middleCols(1, 2));
  REQUIRE(y.middleCols(1, 2).isZero(0));
  REQUIRE(y.col(0).isConstant(1));
  REQUIRE(relu.parameters().empty());
}
