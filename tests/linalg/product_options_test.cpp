#include "qlora/linalg/product_options.hpp"

#include <limits>
#include <type_traits>

#include "qlora/linalg/dense.hpp"
#include "qlora/linalg/dispatch.hpp"
#include "qlora/linalg/gemm.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"
#include "support/threads.hpp"

using qlora::ColumnVector;
using qlora::Compute;
using qlora::Index;
using qlora::RowMatrix;
using qlora::RowMatrixXd;

namespace {

// What is added to products, and the products beside the formula in double.
template <class T>
struct Everything {
  Index tokens, out = 150, in = 130, rank = 6;
  RowMatrix<T> x, dy, low, a, b, y, dx;
  ColumnVector<T> bias_out, bias_in;

  explicit Everything(Index n)
      : tokens(n),
        x(test::normal_matrix<T>(n, in, 1)),
        dy(test::normal_matrix<T>(n, out, 2)),
        low(test::normal_matrix<T>(n, rank, 3)),
        a(test::normal_matrix<T>(rank, in, 4)),
        b(test::normal_matrix<T>(out, rank, 5)),
        y(test::normal_matrix<T>(n, out, 6)),
        dx(test::normal_matrix<T>(n, in, 7)),
        bias_out(test::normal_matrix<T>(out, 1, 8)),
        bias_in(test::normal_matrix<T>(in, 1, 9)) {}

  qlora::ProductOptions<T> forward(Compute compute) const {
    return {.beta = T(0.5), .bias = &bias_out, .low_rank = {&low, &b, T(2)}, .compute = compute};
  }
  qlora::ProductOptions<T> backward(Compute compute) const {
    return {.beta = T(0.5), .bias = &bias_in, .low_rank = {&low, &a, T(2)}, .compute = compute};
  }
  RowMatrixXd expected_y(const RowMatrixXd& w) const {
    RowMatrixXd sum = x.template cast<double>() * w.transpose() + 0.5 * y.template cast<double>() +
                      2 * low.template cast<double>() * b.transpose().template cast<double>();
    sum.rowwise() += bias_out.transpose().template cast<double>();
    return sum;
  }
  RowMatrixXd expected_dx(const RowMatrixXd& w) const {
    RowMatrixXd sum = dy.template cast<double>() * w + 0.5 * dx.template cast<double>() +
                      2 * low.template cast<double>() * a.template cast<double>();
    sum.rowwise() += bias_in.transpose().template cast<double>();
    return sum;
  }
};

template <class T>
bool close(const RowMatrix<T>& found, const RowMatrixXd& expected, double error) {
  return (found.template cast<double>() - expected).norm() <= error * (1 + expected.norm());
}

}  // namespace

TEMPLATE_TEST_CASE("products add what was there, a bias and an adapter's share", "", float,
                   double) {
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(150, 130, 10));
  const RowMatrixXd exact = qlora::dequantize<double>(w);
  const RowMatrix<TestType> dense = exact.cast<TestType>();
  for (const Index tokens : {1, 3, 8, 9, 70, 300}) {
    for (const Compute compute : {Compute::float32, Compute::bfloat16}) {
      const double error =
          compute == Compute::float32 || std::is_same_v<TestType, double> ? 1e-6 : 5e-3;
      Everything<TestType> packed(tokens), plain(tokens);
      const RowMatrixXd y = packed.expected_y(exact), dx = packed.expected_dx(exact);
      qlora::forward_product<TestType>(packed.x, w.view(), packed.y, packed.forward(compute));
      qlora::backward_product<TestType>(packed.dy, w.view(), packed.dx, packed.backward(compute));
      qlora::forward_product<TestType>(plain.x, dense, plain.y, plain.forward(compute));
      qlora::backward_product<TestType>(plain.dy, dense, plain.dx, plain.backward(compute));
      REQUIRE(close(packed.y, y, error));
      REQUIRE(close(packed.dx, dx, error));
      REQUIRE(close(plain.y, y, error));
      REQUIRE(close(plain.dx, dx, error));
    }
  }
}

TEST_CASE("without beta the output is not read") {
  const auto w = qlora::quantize<qlora::formats::nf4>(test::normal_matrix(64, 128, 1));
  for (const Index tokens : {1, 40}) {
    const auto nan = std::numeric_limits<float>::quiet_NaN();
    RowMatrix<float> y = RowMatrix<float>::Constant(tokens, 64, nan),
                     dx = RowMatrix<float>::Constant(tokens, 128, nan);
    qlora::forward_product<float>(test::normal_matrix(tokens, 128, 2), w.view(), y);
    qlora::backward_product<float>(test::normal_matrix(tokens, 64, 3), w.view(), dx);
    REQUIRE(y.allFinite());
    REQUIRE(dx.allFinite());
  }
}

TEST_CASE("what is added must fit") {
  const auto w = qlora::quantize<qlora::formats::nf4>(test::normal_matrix(8, 16, 1));
  RowMatrix<float> y = RowMatrix<float>::Ones(2, 8);
  const RowMatrix<float> x = RowMatrix<float>::Ones(2, 16), left = RowMatrix<float>::Ones(2, 3),
                         right = RowMatrix<float>::Ones(8, 4);
  const ColumnVector<float> bias = ColumnVector<float>::Ones(7);
  REQUIRE_THROWS_AS(qlora::forward_product<float>(x, w.view(), y, {.bias = &bias}),
                    qlora::ShapeError);
  REQUIRE_THROWS_AS(
      qlora::forward_product<float>(x, w.view(), y, {.low_rank = {&left, &right, 1.f}}),
      qlora::ShapeError);
  REQUIRE(y == RowMatrix<float>::Ones(2, 8));
}

TEST_CASE("an arithmetic is chosen by its name") {
  REQUIRE(qlora::compute_from_name("auto") == Compute::automatic);
  REQUIRE(qlora::compute_from_name("float32") == Compute::float32);
  REQUIRE(qlora::compute_from_name("bfloat16") == Compute::bfloat16);
  REQUIRE_THROWS_AS(qlora::compute_from_name("half"), qlora::OptionError);
  REQUIRE(qlora::resolved(Compute::float32) == Compute::float32);
  REQUIRE(qlora::resolved(Compute::automatic) ==
          (qlora::has_bfloat16_instructions() ? Compute::bfloat16 : Compute::float32));
}
