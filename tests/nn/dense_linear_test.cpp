#include "qlora/nn/dense_linear.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/gradient.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXd;
using qlora::RowMatrixXf;

TEST_CASE("gradients of x, weight and bias agree with central differences") {
  for (const bool bias : {true, false}) {
    qlora::DenseLinear<double> layer(6, 4, {.bias = bias});
    RowMatrixXd x = test::normal_matrix<double>(5, 6, 1);
    const RowMatrixXd weight = test::normal_matrix<double>(5, 4, 2);
    const auto loss = [&] { return layer.forward(x).out.cwiseProduct(weight).sum(); };
    const RowMatrixXd dx = layer.backward(weight, layer.forward(x).saved);
    REQUIRE(test::gradient_error(x, dx, loss) == "");
    REQUIRE(test::gradient_error(layer.weight.value, layer.weight.grad, loss) == "");
    REQUIRE(test::gradient_error(layer.bias.value, layer.bias.grad, loss) == "");
    REQUIRE(layer.parameters().size() == (bias ? 2 : 1));
  }
}

TEST_CASE("the layer is x Wᵀ + bias") {
  qlora::DenseLinear<> layer(6, 4);
  const RowMatrixXf x = test::normal_matrix(5, 6, 1);
  RowMatrixXf expected = x * layer.weight.value.transpose();
  expected.rowwise() += layer.bias.value.row(0);
  REQUIRE((layer.forward(x).out - expected).norm() < 1e-6f * expected.norm());
}

TEST_CASE("it starts uniform in 1 / sqrt(in), by its seed or else by its place") {
  const qlora::DenseLinear<> one(100, 64, {.seed = 1}), again(100, 64, {.seed = 1});
  REQUIRE(one.weight.value == again.weight.value);
  REQUIRE(one.weight.value.cwiseAbs().maxCoeff() <= 0.1f);
  // The variance of U(-b, b) is b² / 3; 6,400 numbers estimate it within 5 %.
  const float variance = one.weight.value.squaredNorm() / 6400;
  REQUIRE(std::abs(variance / (0.01f / 3) - 1) < 0.05f);
  REQUIRE_FALSE(one.bias.value.isZero(0));
  qlora::DenseLinear<> free(100, 64), other(100, 64), given(100, 64, {.seed = 1});
  REQUIRE(free.weight.value == other.weight.value);
  free.take_place(0);
  other.take_place(1);
  given.take_place(1);
  REQUIRE(free.weight.value != other.weight.value);
  REQUIRE(given.weight.value == one.weight.value);
}

TEST_CASE("backward adds to the gradients, and adds nothing where shapes do not fit") {
  qlora::DenseLinear<> layer(6, 4);
  const RowMatrixXf x = test::normal_matrix(5, 6, 1), dy = test::normal_matrix(5, 4, 2);
  const auto saved = layer.forward(x).saved;
  (void)layer.backward(dy, saved);
  const RowMatrixXf once = layer.weight.grad;
  (void)layer.backward(dy, saved);
  REQUIRE((layer.weight.grad - 2 * once).norm() <= 1e-6f * once.norm());
  const RowMatrixXf twice = layer.weight.grad, bias = layer.bias.grad;
  REQUIRE_THROWS_AS(layer.backward(RowMatrixXf::Ones(4, 4), saved), qlora::ShapeError);
  REQUIRE_THROWS_AS(layer.backward(RowMatrixXf::Ones(5, 3), saved), qlora::ShapeError);
  REQUIRE(layer.weight.grad == twice);
  REQUIRE(layer.bias.grad == bias);
  REQUIRE_THROWS_AS(layer.forward(RowMatrixXf::Ones(2, 5)), qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::DenseLinear<>(0, 4), qlora::ShapeError);
}
