#include "qlora/quant/outlier_preserving.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "qlora/linalg/gemm.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXf;
using Kept = qlora::OutlierPreserving<qlora::formats::nf4, std::ratio<1, 50>>;

TEST_CASE("the share of largest weights comes back rounded to bfloat16") {
  const RowMatrixXf x = test::normal_matrix(20, 70, 3);
  const auto w = qlora::quantize<Kept>(x);
  REQUIRE(w.outliers().value.size() == 28);  // 20 * 70 / 50
  const RowMatrixXf back = qlora::dequantize(w);
  std::vector<float> sizes(x.data(), x.data() + x.size());
  for (float& size : sizes) size = std::abs(size);
  std::sort(sizes.rbegin(), sizes.rend());
  Index kept = 0;
  for (Index i = 0; i < x.size(); ++i) {
    if (std::abs(x.data()[i]) < sizes[27]) continue;
    REQUIRE(back.data()[i] == static_cast<float>(qlora::bfloat16(x.data()[i])));
    ++kept;
  }
  REQUIRE(kept == 28);
}

TEST_CASE("the other weights are those of the format after zeros took the outliers' places") {
  const RowMatrixXf x = test::normal_matrix(9, 33, 4);
  const auto w = qlora::quantize<Kept>(x);
  const RowMatrixXf back = qlora::dequantize(w);
  RowMatrixXf rest = x;
  const auto& kept = w.outliers();
  for (Index row = 0; row < 9; ++row)
    for (auto i = kept.row_start[static_cast<std::size_t>(row)];
         i < kept.row_start[static_cast<std::size_t>(row) + 1]; ++i)
      rest(row, kept.column[i]) = 0;
  const RowMatrixXf expected = qlora::dequantize(qlora::quantize<qlora::formats::nf4>(rest));
  for (Index i = 0; i < x.size(); ++i)
    if (rest.data()[i] != 0) REQUIRE(back.data()[i] == expected.data()[i]);
}

TEST_CASE("of equal magnitudes the first are kept") {
  const auto w = qlora::quantize<qlora::OutlierPreserving<qlora::formats::nf4, std::ratio<1, 4>>>(
      RowMatrixXf::Constant(2, 4, -2.f));
  REQUIRE(w.outliers().column == std::vector<std::uint32_t>{0, 1});
  REQUIRE(w.outliers().row_start == std::vector<std::uint32_t>{0, 2, 2});
}

TEST_CASE("single weights, ranges and products see the outliers") {
  const RowMatrixXf x = test::normal_matrix(13, 37, 5);
  const auto w = qlora::quantize<Kept>(x);
  const RowMatrixXf back = qlora::dequantize(w);
  for (Index row = 0; row < 13; ++row)
    for (Index col = 0; col < 37; ++col) REQUIRE(w.view()(row, col) == back(row, col));
  for (const Index begin : {0, 1, 36, 37, 200})
    for (const Index count : {0, 1, 40, 200}) {
      std::vector<float> out(static_cast<std::size_t>(count) + 1, 7.f);
      w.view().decode_range(begin, count, out.data());
      REQUIRE(test::same_bits(out.data(), back.data() + begin, count));
      REQUIRE(out.back() == 7.f);
    }
  const RowMatrixXf a = test::normal_matrix(6, 37, 6);
  RowMatrixXf y(6, 13);
  qlora::forward_product<float>(a, w.view(), y);
  REQUIRE((y - a * back.transpose()).norm() < 1e-4f);
}

TEST_CASE("no outliers: a share of nothing, a matrix too small for one, and an empty one") {
  REQUIRE(qlora::quantize<Kept>(test::normal_matrix(1, 49, 1)).outliers().value.empty());
  REQUIRE(qlora::quantize<Kept>(RowMatrixXf(0, 5)).outliers().value.empty());
  using None = qlora::OutlierPreserving<qlora::formats::nf4, std::ratio<0>>;
  const RowMatrixXf x = test::normal_matrix(3, 200, 2);
  REQUIRE(test::same_bits(qlora::dequantize(qlora::quantize<None>(x)),
                          qlora::dequantize(qlora::quantize<qlora::formats::nf4>(x))));
}

TEST_CASE("outliers that do not lie in the matrix are refused") {
  const auto rest = qlora::quantize<qlora::formats::nf4>(RowMatrixXf::Ones(2, 3));
  using Matrix = qlora::QuantizedMatrix<Kept>;
  const std::vector<qlora::bfloat16> two(2);
  REQUIRE_NOTHROW(Matrix(rest, {{0, 1, 2}, {2, 0}, two}));
  REQUIRE_THROWS_AS(Matrix(rest, {{0, 1, 2}, {3, 0}, two}), qlora::ShapeError);
  REQUIRE_THROWS_AS(Matrix(rest, {{0, 2, 2}, {1, 1}, two}), qlora::ShapeError);
  REQUIRE_THROWS_AS(Matrix(rest, {{0, 3, 2}, {0, 1}, two}), qlora::ShapeError);
  REQUIRE_THROWS_AS(Matrix(rest, {{0, 1}, {0}, two}), qlora::ShapeError);
}

TEST_CASE("NaN is refused by name, saturated on request") {
  RowMatrixXf x = test::normal_matrix(4, 40, 8);
  x(2, 7) = std::nanf("");
  const auto text = test::message_of<qlora::NumericError>([&] { (void)qlora::quantize<Kept>(x); });
  REQUIRE(test::contains(text, "row 2, column 7"));
  REQUIRE(qlora::dequantize(qlora::quantize<Kept>(x, {.non_finite = qlora::OnNonFinite::saturate}))(
              2, 7) == 0);
}
