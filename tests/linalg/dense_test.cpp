#include "qlora/linalg/dense.hpp"

#include "support/law.hpp"
#include "support/numbers.hpp"
#include "support/products.hpp"
#include "support/threads.hpp"

using qlora::Index;
using qlora::RowMatrixXd;
using qlora::RowMatrixXf;

TEST_CASE("every dense product is what its formula says") {
  test::law("formulas",
            [](std::uint64_t seed, std::uint8_t tokens, std::uint8_t out, std::uint8_t in) {
              const Index n = tokens % 50, rows = out % 80 + 1, cols = in % 80 + 1;
              const RowMatrixXd w = test::normal_matrix<double>(rows, cols, seed),
                                x = test::normal_matrix<double>(n, cols, seed + 1);
              const RowMatrixXd dy = test::normal_matrix<double>(n, rows, seed + 2);
              RowMatrixXd y(n, rows), dx(n, cols), more = dy, dmore = x, grad = w;
              qlora::multiply_transposed<double>(x, w, y);
              qlora::multiply<double>(dy, w, dx);
              qlora::accumulate_transposed<double>(x, w, more, 0.5);
              qlora::accumulate<double>(dy, w, dmore, 0.5);
              qlora::accumulate_outer<double>(dy, x, grad, 0.5);
              const auto close = [](const RowMatrixXd& a, const RowMatrixXd& b) {
                return (a - b).norm() <= 1e-12 * (1 + b.norm());
              };
              RC_ASSERT(close(y, x * w.transpose()));
              RC_ASSERT(close(dx, dy * w));
              RC_ASSERT(close(more, dy + 0.5 * x * w.transpose()));
              RC_ASSERT(close(dmore, x + 0.5 * dy * w));
              RC_ASSERT(close(grad, w + 0.5 * dy.transpose() * x));
            });
}

TEST_CASE("dense products refuse shapes that do not fit") {
  RowMatrixXf y(2, 3), w(3, 4), grad(3, 4);
  REQUIRE_THROWS_AS(qlora::multiply_transposed<float>(RowMatrixXf(2, 5), w, y), qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::multiply<float>(RowMatrixXf(2, 4), w, y), qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::accumulate<float>(RowMatrixXf(2, 4), w, y, 1.f), qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::accumulate_outer<float>(RowMatrixXf(2, 3), RowMatrixXf(1, 4), grad, 1.f),
                    qlora::ShapeError);
}

TEST_CASE("the order of sums does not depend on which thread runs what") {
  const RowMatrixXf w = test::normal_matrix(70, 130, 1), x = test::normal_matrix(90, 130, 2);
  const auto product = [&] {
    RowMatrixXf y(90, 70);
    qlora::multiply_transposed<float>(x, w, y);
    return y;
  };
  REQUIRE(test::same_bits(product(), product()));
}
