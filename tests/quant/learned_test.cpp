#include "qlora/codebook/learned.hpp"

#include <cmath>
#include <vector>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"
#include "support/threads.hpp"

using qlora::Index;
using qlora::RowMatrixXf;
using LearnedOnce = qlora::BlockFormat<qlora::Learned<4>, 64, qlora::FloatScale<float>>;
using LearnedByRow =
    qlora::BlockFormat<qlora::Learned<4, qlora::OneTable::per_row>, 32, qlora::FloatScale<float>>;
using ByRow3 =
    qlora::BlockFormat<qlora::Learned<3, qlora::OneTable::per_row>, 10, qlora::DoubleQuant<>>;

namespace {

template <class F>
double error_of(const RowMatrixXf& x) {
  return static_cast<double>((qlora::dequantize(qlora::quantize<F>(x)) - x).squaredNorm());
}

// Weights of which most are small.
RowMatrixXf heavy_tailed(Index rows, Index cols, std::uint64_t seed) {
  return test::normal_matrix(rows, cols, seed).array().cube().matrix();
}

}  // namespace

TEST_CASE("learned values have a smaller error than NF4's, on normal and on heavy-tailed weights") {
  for (const RowMatrixXf& x :
       {RowMatrixXf(test::normal_matrix(64, 256, 1)), heavy_tailed(64, 256, 2)}) {
    REQUIRE(error_of<LearnedOnce>(x) < error_of<qlora::formats::nf4>(x));
    REQUIRE(error_of<qlora::formats::learned4>(x) < error_of<qlora::formats::nf4_dq>(x));
    using Nf4By32 = qlora::BlockFormat<qlora::NF4, 32, qlora::FloatScale<float>>;
    REQUIRE(error_of<LearnedByRow>(x) < error_of<Nf4By32>(x));
  }
}

TEST_CASE("no single value of a table can move and lower the error") {
  const RowMatrixXf x = heavy_tailed(32, 128, 3);
  const auto w = qlora::quantize<LearnedOnce>(x);
  const auto error = [&](const std::vector<float>& values) {
    LearnedOnce::CodebookType::Storage table{values};
    const qlora::QuantizedMatrix<LearnedOnce> moved(w.codes(), w.scale(), x.rows(), x.cols(), 64,
                                                    table);
    return static_cast<double>((qlora::dequantize(moved) - x).squaredNorm());
  };
  const std::vector<float> values = w.codebook().values;
  const double least = error(values);
  for (std::size_t i = 0; i < values.size(); ++i)
    for (const float step : {-0.01f, 0.01f}) {
      auto moved = values;
      moved[i] += step;
      REQUIRE(error(moved) > least);
    }
}

TEST_CASE("a matrix of sixteen values comes back as it was") {
  RowMatrixXf x(8, 64);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>((i * 7) % 16) / 15.f;
  REQUIRE((qlora::dequantize(qlora::quantize<LearnedOnce>(x)) - x).cwiseAbs().maxCoeff() < 1e-6f);
}

TEST_CASE("each row has its own table, also where blocks reach over rows") {
  RowMatrixXf x(4, 25);  // blocks of 10
  for (Index row = 0; row < 4; ++row)
    for (Index col = 0; col < 25; ++col)
      x(row, col) = static_cast<float>((col * 3 + row) % 8) - 3.5f + 0.2f * static_cast<float>(row);
  const auto w = qlora::quantize<ByRow3>(x);
  REQUIRE(w.codebook().values.size() == 4 * 8);
  const RowMatrixXf back = qlora::dequantize(w);
  REQUIRE((back - x).cwiseAbs().maxCoeff() < 0.6f);
  for (Index row = 0; row < 4; ++row)
    for (Index col = 0; col < 25; ++col) REQUIRE(w.view()(row, col) == back(row, col));
}

TEST_CASE("the table does not depend on the number of threads") {
  const RowMatrixXf x = test::normal_matrix(97, 131, 9);
  const auto learn = [&] { return qlora::quantize<qlora::formats::learned4>(x); };
  const auto [one, four] = test::with_one_and_four_threads(learn);
  REQUIRE(one.codebook().values == four.codebook().values);
  REQUIRE(one.codes() == four.codes());
}

TEST_CASE("zeros and an empty matrix have a table too") {
  REQUIRE(qlora::dequantize(qlora::quantize<LearnedOnce>(RowMatrixXf::Zero(3, 50))).norm() == 0.f);
  REQUIRE(qlora::quantize<qlora::formats::learned4>(RowMatrixXf(0, 7)).codebook().values.size() ==
          16);
  REQUIRE(qlora::quantize<LearnedByRow>(RowMatrixXf(0, 7)).codebook().values.empty());
}

TEST_CASE("a table of another length is refused") {
  const auto w = qlora::quantize<LearnedOnce>(RowMatrixXf::Ones(2, 64));
  using Matrix = qlora::QuantizedMatrix<LearnedOnce>;
  REQUIRE_THROWS_AS(Matrix(w.codes(), w.scale(), 2, 64, 64, {std::vector<float>(15)}),
                    qlora::ShapeError);
}
