#include "qlora/linalg/gemv.hpp"

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"
#include "support/products.hpp"
#include "support/threads.hpp"

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

// Rows and blocks of whole vectors of codes: the way that never writes decoded weights.
TEMPLATE_TEST_CASE("whole steps are as exact, for any number of tokens and of threads", "",
                   qlora::Nf4, qlora::Nf4Dq, qlora::Fp4Dq, qlora::Bof4S, qlora::Learned4,
                   qlora::Int4Full, qlora::Q4_0) {
  for (const Index cols : {64, 128, 576})
    for (Index tokens = 1; tokens <= qlora::gemv_rows; ++tokens) {
      const auto w = qlora::quantize<TestType>(test::normal_matrix(37, cols, 5));
      const RowMatrixXf x = test::normal_matrix(tokens, cols, 6);
      const auto [one, four] = test::with_one_and_four_threads([&] {
        RowMatrixXf y(tokens, 37);
        qlora::gemv_transposed<float>(x, w.view(), y);
        return y;
      });
      REQUIRE(test::same_bits(one, four));
      REQUIRE(test::product_error(x.cast<double>(), qlora::dequantize<double>(w).transpose(),
                                  one) == "");
    }
}

TEST_CASE("rows of x may stand apart in memory") {
  const auto w = qlora::quantize<qlora::Nf4>(test::normal_matrix(10, 30, 1));
  const RowMatrixXf wide = test::normal_matrix(2, 90, 2);
  RowMatrixXf y(2, 10), expected(2, 10);
  qlora::gemv_transposed<float>(wide.middleCols(30, 30), w.view(), y);
  qlora::gemv_transposed<float>(RowMatrixXf(wide.middleCols(30, 30)), w.view(), expected);
  REQUIRE(test::same_bits(y, expected));
}
