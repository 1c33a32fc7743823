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
              qlora::forward_product<double>(x, w, y);
              qlora::backward_product<double>(dy, w, dx);
              qlora::forward_product<double>(x, w, more, {.beta = 0.5});
              qlora::backward_product<double>(dy, w, dmore, {.beta = 0.5});
              qlora::accumulate_outer<double>(dy, x, grad, 0.5);
              const auto close = [](const RowMatrixXd& a, const RowMatrixXd& b) {
                return (a - b).norm() <= 1e-12 * (1 + b.norm());
              };
              RC_ASSERT(close(y, x * w.transpose()));
              RC_ASSERT(close(dx, dy * w));
              RC_ASSERT(close(more, 0.5 * dy + x * w.transpose()));
              RC_ASSERT(close(dmore, 0.5 * x + dy * w));
              RC_ASSERT(close(grad, w + 0.5 * dy.transpose() * x));
            });
}

TEST_CASE("dense products in float are as exact as float sums are") {
  test::law(
      "float", [](std::uint64_t seed, std::uint16_t tokens, std::uint16_t out, std::uint16_t in) {
        const Index n = tokens % 90, rows = out % 300 + 1, cols = in % 300 + 1;
        const RowMatrixXf w = test::normal_matrix(rows, cols, seed),
                          x = test::normal_matrix(n, cols, seed + 1),
                          dy = test::normal_matrix(n, rows, seed + 2);
        RowMatrixXf y(n, rows), dx(n, cols), more = RowMatrixXf::Zero(n, rows),
                                             dmore = RowMatrixXf::Zero(n, cols),
                                             grad = RowMatrixXf::Zero(rows, cols);
        qlora::forward_product<float>(x, w, y);
        qlora::backward_product<float>(dy, w, dx);
        qlora::forward_product<float>(x, w, more, {.beta = 1});
        qlora::backward_product<float>(dy, w, dmore, {.beta = 1});
        qlora::accumulate_outer<float>(dy, x, grad, 0.5f);
        const RowMatrixXd wd = w.cast<double>(), xd = x.cast<double>(), dyd = dy.cast<double>();
        for (const auto& error :
             {test::product_error(xd, wd.transpose(), y), test::product_error(dyd, wd, dx),
              test::product_error(xd, wd.transpose(), more), test::product_error(dyd, wd, dmore),
              test::product_error(0.5 * dyd.transpose(), xd, grad)})
          if (!error.empty()) RC_FAIL(error);
      });
}

TEST_CASE("sums are added to what was there, in parts of larger matrices") {
  const RowMatrixXf x = test::normal_matrix(70, 40, 1), w = test::normal_matrix(25, 40, 2);
  RowMatrixXf whole = RowMatrixXf::Ones(70, 60);
  qlora::forward_product<float>(x, w, whole.middleCols(20, 25), {.beta = 1});
  REQUIRE((whole.middleCols(20, 25) - RowMatrixXf::Ones(70, 25) - x * w.transpose()).norm() <
          1e-3f);
  REQUIRE(whole.leftCols(20) == RowMatrixXf::Ones(70, 20));
  REQUIRE(whole.rightCols(15) == RowMatrixXf::Ones(70, 15));
}

TEST_CASE("an empty depth gives zeros, and adds nothing") {
  RowMatrixXf y = RowMatrixXf::Ones(20, 30), dx = RowMatrixXf::Ones(20, 30);
  qlora::forward_product<float>(RowMatrixXf(20, 0), RowMatrixXf(30, 0), y, {.beta = 1});
  qlora::backward_product<float>(RowMatrixXf(20, 0), RowMatrixXf(0, 30), dx, {.beta = 1});
  REQUIRE(y == RowMatrixXf::Ones(20, 30));
  REQUIRE(dx == RowMatrixXf::Ones(20, 30));
  qlora::forward_product<float>(RowMatrixXf(20, 0), RowMatrixXf(30, 0), y);
  qlora::backward_product<float>(RowMatrixXf(20, 0), RowMatrixXf(0, 30), dx);
  REQUIRE(y.isZero(0));
  REQUIRE(dx.isZero(0));
}

TEST_CASE("dense products refuse shapes that do not fit") {
  RowMatrixXf y(2, 3), w(3, 4), grad(3, 4);
  REQUIRE_THROWS_AS(qlora::forward_product<float>(RowMatrixXf(2, 5), w, y), qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::backward_product<float>(RowMatrixXf(2, 4), w, y), qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::accumulate_outer<float>(RowMatrixXf(2, 3), RowMatrixXf(1, 4), grad, 1.f),
                    qlora::ShapeError);
}

// Eigen's own product, which serves without Highway, sums in the order of the part that a thread
// has.
TEST_CASE("the order of sums does not depend on which thread runs what") {
  for (const Index rows : {16, 70, 300}) {
    const RowMatrixXf w = test::normal_matrix(rows, 130, 1), x = test::normal_matrix(90, 130, 2),
                      dy = test::normal_matrix(90, rows, 3);
    const auto products = [&] {
      RowMatrixXf y(90, rows), dx(90, 130), grad = RowMatrixXf::Zero(rows, 130);
      qlora::forward_product<float>(x, w, y);
      qlora::backward_product<float>(dy, w, dx);
      qlora::accumulate_outer<float>(dy, x, grad, 1.f);
      RowMatrixXf all(y.size() + dx.size() + grad.size(), 1);
      all << y.reshaped<Eigen::RowMajor>(), dx.reshaped<Eigen::RowMajor>(),
          grad.reshaped<Eigen::RowMajor>();
      return all;
    };
#if QLORA_HAS_VECTORS
    const auto [one, four] = test::with_one_and_four_threads(products);
    REQUIRE(test::same_bits(one, four));
#endif
    REQUIRE(test::same_bits(products(), products()));
  }
}
