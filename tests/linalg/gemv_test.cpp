#include "qlora/linalg/gemv.hpp"

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"
#include "support/products.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

TEMPLATE_TEST_CASE("the product of a few rows is as exact as float sums are", "",
                   QLORA_TEST_FORMATS) {
  test::law("x Wᵀ", [](std::uint64_t seed, std::uint8_t tokens, std::uint8_t out, std::uint8_t in) {
    const Index n = tokens % (qlora::gemv_rows + 1), rows = out % 100 + 1, cols = in + 1;
    const auto w = qlora::quantize<TestType>(test::normal_matrix(rows, cols, seed));
    const RowMatrixXf x = test::normal_matrix(n, cols, seed + 1);
    RowMatrixXf y(n, rows);
    qlora::gemv_transposed<float>(x, w.view(), y);
    const auto error =
        test::product_error(x.cast<double>(), qlora::dequantize<double>(w).transpose(), y);
    if (!error.empty()) RC_FAIL(error);
  });
}

TEST_CASE("rows of x may stand apart in memory") {
  const auto w = qlora::quantize<qlora::Nf4>(test::normal_matrix(10, 30, 1));
  const RowMatrixXf wide = test::normal_matrix(2, 90, 2);
  RowMatrixXf y(2, 10), expected(2, 10);
  qlora::gemv_transposed<float>(wide.middleCols(30, 30), w.view(), y);
  qlora::gemv_transposed<float>(RowMatrixXf(wide.middleCols(30, 30)), w.view(), expected);
  REQUIRE(test::same_bits(y, expected));
}
