#include "qlora/nn/linear.hpp"

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/formats.hpp"
#include "support/gradient.hpp"
#include "support/numbers.hpp"

using qlora::RowMatrixXd;
using qlora::RowMatrixXf;

TEST_CASE("AnyLinear is the weight it holds, packed or dense") {
  const auto packed = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(9, 20, 1));
  const RowMatrixXf dense = qlora::dequantize(packed);
  const qlora::AnyLinear<> a(packed), b(dense);
  const RowMatrixXf x = test::normal_matrix(6, 20, 2), dy = test::normal_matrix(6, 9, 3);
  for (const auto* linear : {&a, &b}) {
    RowMatrixXf y(6, 9), dx(6, 20);
    linear->forward(x, y);
    linear->backward(dy, dx);
    REQUIRE((y - x * dense.transpose()).norm() < 1e-5f * y.norm());
    REQUIRE((dx - dy * dense).norm() < 1e-5f * dx.norm());
    REQUIRE(linear->rows_of(2, 3) == dense.middleRows(2, 3));
    REQUIRE(linear->rows() == 9);
    REQUIRE(linear->cols() == 20);
  }
  REQUIRE(a.bytes() == packed.bytes());
  REQUIRE(b.bytes() == 9 * 20 * 4);
}

TEST_CASE("the gradient of the input agrees with central differences") {
  const qlora::AnyLinear<double> linear(
      qlora::quantize<test::Lopsided16>(test::normal_matrix(5, 11, 1)));
  RowMatrixXd x = test::normal_matrix<double>(3, 11, 2), dx(3, 11);
  const RowMatrixXd weight = test::normal_matrix<double>(3, 5, 3);
  linear.backward(weight, dx);
  REQUIRE(test::gradient_error(x, dx, [&] {
            RowMatrixXd y(3, 5);
            linear.forward(x, y);
            return y.cwiseProduct(weight).sum();
          }) == "");
}
