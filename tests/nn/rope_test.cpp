#include "qlora/nn/rope.hpp"

#include <cmath>
#include <complex>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXd;

TEST_CASE("each pair (i, i + d/2) turns by position * base^(-2i/d)") {
  const qlora::Rope<double> rope(6, 100.0, 20);
  RowMatrixXd x = test::normal_matrix<double>(3, 12, 1);
  const RowMatrixXd before = x;
  const std::vector<Index> positions{0, 7, 19};
  rope.forward(x, positions);
  for (Index row = 0; row < 3; ++row)
    for (Index head = 0; head < 2; ++head)
      for (Index i = 0; i < 3; ++i) {
        const double angle = static_cast<double>(positions[static_cast<std::size_t>(row)]) *
                             std::pow(100.0, -2.0 * static_cast<double>(i) / 6);
        const std::complex<double> turned =
            std::complex<double>(before(row, head * 6 + i), before(row, head * 6 + i + 3)) *
            std::polar(1.0, angle);
        REQUIRE(std::abs(x(row, head * 6 + i) - turned.real()) < 1e-14);
        REQUIRE(std::abs(x(row, head * 6 + i + 3) - turned.imag()) < 1e-14);
      }
}

TEST_CASE("the backward rotation is the gradient and undoes the forward one") {
  const qlora::Rope<double> rope(4, 10000.0, 50);
  const std::vector<Index> positions{3, 49};
  RowMatrixXd x = test::normal_matrix<double>(2, 8, 1);
  const RowMatrixXd weight = test::normal_matrix<double>(2, 8, 2);
  RowMatrixXd dx = weight;
  rope.backward(dx, positions);
  REQUIRE(test::gradient_error(x, dx, [&] {
            RowMatrixXd y = x;
            rope.forward(y, positions);
            return y.cwiseProduct(weight).sum();
          }) == "");
  RowMatrixXd there = x;
  rope.forward(there, positions);
  rope.backward(there, positions);
  REQUIRE((there - x).norm() < 1e-14);
}

TEST_CASE("odd head widths and a wrong number of positions are refused") {
  REQUIRE_THROWS_AS(qlora::Rope<double>(3, 10000.0, 5), qlora::ShapeError);
  const qlora::Rope<double> rope(4, 10000.0, 5);
  RowMatrixXd x(2, 8);
  REQUIRE_THROWS_AS(rope.forward(x, std::vector<Index>{0}), qlora::ShapeError);
  REQUIRE_THROWS_AS(rope.forward(x, std::vector<Index>{0, 5}), qlora::ShapeError);
}
