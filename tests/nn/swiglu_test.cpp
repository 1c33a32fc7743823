#include "qlora/nn/swiglu.hpp"

#include "support/catch.hpp"
#include "support/gradient.hpp"
#include "support/numbers.hpp"

using qlora::RowMatrixXd;
using qlora::RowMatrixXf;

TEST_CASE("SwiGLU and its gradients agree with the formula and central differences") {
  RowMatrixXd gate = test::normal_matrix<double>(3, 5, 1),
              up = test::normal_matrix<double>(3, 5, 2), out(3, 5), dgate(3, 5), dup(3, 5);
  qlora::swiglu_forward(gate, up, out);
  REQUIRE(std::abs(out(1, 2) - gate(1, 2) / (1 + std::exp(-gate(1, 2))) * up(1, 2)) < 1e-15);
  const RowMatrixXd weight = test::normal_matrix<double>(3, 5, 3);
  qlora::swiglu_backward(gate, up, weight, dgate, dup);
  const auto loss = [&] {
    qlora::swiglu_forward(gate, up, out);
    return out.cwiseProduct(weight).sum();
  };
  REQUIRE(test::gradient_error(gate, dgate, loss) == "");
  REQUIRE(test::gradient_error(up, dup, loss) == "");
}

TEST_CASE("a gate by gelu and its gradients agree with the formula and central differences") {
  using qlora::GateFunction;
  RowMatrixXd gate = test::normal_matrix<double>(3, 5, 1),
              up = test::normal_matrix<double>(3, 5, 2), out(3, 5), dgate(3, 5), dup(3, 5);
  qlora::gated_forward(GateFunction::gelu_tanh, gate, up, out);
  const double z = gate(1, 2), u = std::sqrt(2 / std::acos(-1.0)) * (z + 0.044715 * z * z * z);
  REQUIRE(std::abs(out(1, 2) - 0.5 * z * (1 + std::tanh(u)) * up(1, 2)) < 1e-15);
  const RowMatrixXd weight = test::normal_matrix<double>(3, 5, 3);
  qlora::gated_backward(GateFunction::gelu_tanh, gate, up, weight, dgate, dup);
  const auto loss = [&] {
    qlora::gated_forward(GateFunction::gelu_tanh, gate, up, out);
    return out.cwiseProduct(weight).sum();
  };
  REQUIRE(test::gradient_error(gate, dgate, loss) == "");
  REQUIRE(test::gradient_error(up, dup, loss) == "");
}

TEST_CASE("large gates do not overflow") {
  RowMatrixXf gate(1, 2), up = RowMatrixXf::Ones(1, 2), out(1, 2), dgate(1, 2), dup(1, 2);
  gate << -1000.f, 1000.f;
  qlora::swiglu_forward(gate, up, out);
  REQUIRE(out(0, 0) == 0.f);
  REQUIRE(out(0, 1) == 1000.f);
  qlora::swiglu_backward(gate, up, up, dgate, dup);
  REQUIRE(dgate.allFinite());
  REQUIRE(dup.allFinite());
}

TEST_CASE("outputs of another shape are refused") {
  const RowMatrixXf gate = RowMatrixXf::Ones(2, 3);
  RowMatrixXf out(2, 3), other(3, 2);
  REQUIRE_THROWS_AS(qlora::swiglu_forward(gate, gate, other), qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::swiglu_backward(gate, gate, gate, other, out), qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::swiglu_backward(gate, gate, gate, out, other), qlora::ShapeError);
}
