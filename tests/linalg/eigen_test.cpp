#include "qlora/linalg/eigen.hpp"

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/formats.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXd;
using qlora::RowMatrixXf;

namespace {

constexpr Index tokens = 9, out = 21, in = 50;

struct Operands {
  qlora::QuantizedMatrix<qlora::formats::nf4_dq> w =
      qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(out, in, 1));
  RowMatrixXf dense = qlora::dequantize(w);
  RowMatrixXf x = test::normal_matrix(tokens, in, 2), dy = test::normal_matrix(tokens, out, 3);
};

template <class A, class B>
bool close(const A& a, const B& b) {
  const RowMatrixXd left = a.template cast<double>(), right = b.template cast<double>();
  return left.rows() == right.rows() && left.cols() == right.cols() &&
         (left - right).norm() <= 1e-5 * (1 + right.norm());
}

}  // namespace

TEST_CASE("products read like the formula in every position") {
  const Operands o;
  const auto& [w, dense, x, dy] = o;
  const RowMatrixXf y = x * w.transpose(), dx = dy * w;
  REQUIRE(close(y, x * dense.transpose()));
  REQUIRE(close(dx, dy * dense));
  const RowMatrixXf scaled = 2.f * (x * w.transpose()), summed = y + x * w.transpose();
  REQUIRE(close(scaled, 2.f * y));
  REQUIRE(close(summed, 2.f * y));
  RowMatrixXf z = y;
  z.noalias() += x * w.transpose();
  z -= 0.5f * (x * w.transpose());
  REQUIRE(close(z, 1.5f * y));
}

TEST_CASE("the packed matrix may stand on the left") {
  const Operands o;
  const auto& [w, dense, x, dy] = o;
  const Eigen::VectorXf v = x.row(0).transpose(), u = dy.row(0).transpose();
  const Eigen::VectorXf wv = w * v, wtu = w.transpose() * u;
  REQUIRE(close(wv, dense * v));
  REQUIRE(close(wtu, dense.transpose() * u));
  Eigen::MatrixXf accumulated = Eigen::MatrixXf::Ones(out, tokens);
  accumulated += w * x.transpose();
  REQUIRE(close(accumulated, Eigen::MatrixXf::Ones(out, tokens) + dense * x.transpose()));
}

TEST_CASE("the dense side may be a block, a map, column-major, a row, an expression or double") {
  const Operands o;
  const auto& [w, dense, x, dy] = o;
  const Eigen::MatrixXf columns = x;
  REQUIRE(close(RowMatrixXf(columns * w.transpose()), x * dense.transpose()));
  REQUIRE(close(RowMatrixXf(x.middleRows(2, 3) * w.transpose()),
                x.middleRows(2, 3) * dense.transpose()));
  REQUIRE(close(RowMatrixXf(Eigen::Map<const RowMatrixXf>(x.data(), 4, in) * w.transpose()),
                x.topRows(4) * dense.transpose()));
  REQUIRE(close(Eigen::RowVectorXf(x.row(1) * w.transpose()), x.row(1) * dense.transpose()));
  REQUIRE(close(RowMatrixXf((x + x) * w.transpose()), 2.f * x * dense.transpose()));
  const RowMatrixXd wide = x.cast<double>();
  const RowMatrixXd product = wide * w.transpose();
  REQUIRE((product - wide * dense.cast<double>().transpose()).norm() <
          1e-12 * (1 + product.norm()));
  RowMatrixXf target = RowMatrixXf::Zero(tokens + 2, out + 2);
  target.block(1, 1, tokens, out) = x * w.transpose();
  REQUIRE(close(target.block(1, 1, tokens, out), x * dense.transpose()));
  REQUIRE(target.row(0).isZero(0));
  Eigen::MatrixXf column_target = x * w.transpose();
  REQUIRE(close(column_target, x * dense.transpose()));
}

TEST_CASE("the result may be assigned to an operand") {
  const auto square = qlora::quantize<qlora::formats::nf4>(test::normal_matrix(16, 16, 4));
  RowMatrixXf x = test::normal_matrix(5, 16, 5);
  const RowMatrixXf expected = x * qlora::dequantize(square).transpose();
  x = x * square.transpose();
  REQUIRE(close(x, expected));
}

TEST_CASE("expressions refuse shapes that do not fit") {
  const Operands o;
  REQUIRE_THROWS_AS(o.x * o.w, qlora::ShapeError);
  REQUIRE_THROWS_AS(o.dy * o.w.transpose(), qlora::ShapeError);
  REQUIRE_THROWS_AS(o.w * o.x, qlora::ShapeError);
}
