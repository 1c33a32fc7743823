#include "qlora/nn/rms_norm.hpp"

#include "support/catch.hpp"
#include "support/gradient.hpp"
#include "support/numbers.hpp"

using qlora::RowMatrixXd;

TEST_CASE(
    "RMSNorm scales to a mean square of one and its gradient agrees with central differences") {
  const qlora::RmsNorm<double> norm{test::normal_matrix<double>(1, 6, 1).row(0).transpose(), 1e-3};
  RowMatrixXd x = test::normal_matrix<double>(4, 6, 2), y(4, 6);
  norm.forward(x, y);
  for (qlora::Index row = 0; row < 4; ++row) {
    const double rms = std::sqrt(x.row(row).squaredNorm() / 6 + 1e-3);
    REQUIRE((y.row(row) - (x.row(row) / rms).cwiseProduct(norm.weight.transpose())).norm() < 1e-14);
  }
  const RowMatrixXd weight = test::normal_matrix<double>(4, 6, 3);
  RowMatrixXd dx = RowMatrixXd::Constant(4, 6, 9);  // overwritten
  norm.backward(x, weight, dx);
  REQUIRE(test::gradient_error(x, dx, [&] {
            norm.forward(x, y);
            return y.cwiseProduct(weight).sum();
          }) == "");
}

TEST_CASE("add_backward adds to dx; a row of zeros is finite") {
  const qlora::RmsNorm<double> norm{qlora::ColumnVector<double>::Ones(3), 1e-5};
  const RowMatrixXd x = RowMatrixXd::Zero(1, 3), dy = RowMatrixXd::Ones(1, 3);
  RowMatrixXd dx = RowMatrixXd::Constant(1, 3, 10), y(1, 3);
  norm.forward(x, y);
  REQUIRE(y.isZero(0));
  norm.add_backward(x, dy, dx);
  REQUIRE(std::abs(dx(0, 0) - 10 - 1 / std::sqrt(1e-5)) < 1e-9);
  REQUIRE_THROWS_AS(norm.forward(RowMatrixXd(1, 4), y), qlora::ShapeError);
}
