#include "qlora/nn/rope.hpp"

#include <cmath>
#include <complex>
#include <thread>
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

TEST_CASE("a long context costs nothing before its positions are used, and its tables are exact") {
  const qlora::Rope<double> rope(4, 10000.0, Index{1} << 50);
  RowMatrixXd x(2, 4), y;
  x.setOnes();
  y = x;
  rope.forward(x, std::vector<Index>{3, 100000});
  const qlora::Rope<double> whole(4, 10000.0, 100001);
  REQUIRE(whole.cosine().rows() == 100001);
  whole.forward(y, std::vector<Index>{3, 100000});
  REQUIRE(x == y);
  for (const Index position : {0, 511, 512, 1024, 100000})
    REQUIRE(whole.sine()(position, 1) == std::sin(static_cast<double>(position) * 0.01));
}

TEST_CASE("threads may rotate by one rope while its tables grow") {
  const qlora::Rope<double> rope(4, 10000.0, 1 << 20);
  std::vector<RowMatrixXd> turned(4, RowMatrixXd::Ones(64, 4));
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < turned.size(); ++t)
      threads.emplace_back([&, t] {
        for (Index i = 0; i < 64; ++i)
          rope.forward(turned[t].middleRows(i, 1), std::vector<Index>{i * 300});
      });
  }
  RowMatrixXd alone = RowMatrixXd::Ones(64, 4);
  for (Index i = 0; i < 64; ++i)
    qlora::Rope<double>(4, 10000.0, 1 << 20)
        .forward(alone.middleRows(i, 1), std::vector<Index>{i * 300});
  for (const auto& each : turned) REQUIRE(each == alone);
}

TEST_CASE("a base that is no positive number, a negative length and an empty rope are refused") {
  for (const double base : {0.0, -1.0, std::nan("")})
    REQUIRE_THROWS_AS(qlora::Rope<double>(4, base, 5), qlora::OptionError);
  REQUIRE_THROWS_AS(qlora::Rope<double>(4, 10000.0, -1), qlora::ShapeError);
  RowMatrixXd x(1, 8);
  REQUIRE_THROWS_AS(qlora::Rope<double>().forward(x, std::vector<Index>{0}), qlora::ShapeError);
}
