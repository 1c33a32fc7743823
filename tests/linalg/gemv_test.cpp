#include "qlora/linalg/gemv.hpp"

#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"
#include "support/packed_products.hpp"
#include "support/threads.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

// Up to this many rows a product goes row by row of W.
constexpr Index few = 8;

TEMPLATE_TEST_CASE("the product of a few rows is as exact as float sums are", "",
                   QLORA_TEST_FORMATS) {
  test::law("x Wᵀ, dy W",
            [](std::uint64_t seed, std::uint8_t tokens, std::uint8_t out, std::uint8_t in) {
              const Index n = tokens % (few + 1), rows = out % 100 + 1, cols = in + 1;
              const auto error = test::PackedProducts<TestType>(n, rows, cols, seed).error();
              if (!error.empty()) RC_FAIL(error);
            });
}

// Rows and blocks of whole vectors of codes: the way that never writes decoded weights.
TEMPLATE_TEST_CASE("whole steps are as exact, for any number of tokens and of threads", "",
                   qlora::formats::nf4, qlora::formats::nf4_dq, qlora::formats::fp4_dq,
                   qlora::formats::bof4_s, qlora::formats::learned4, qlora::formats::int4_16,
                   qlora::formats::q4_0) {
  for (const Index cols : {64, 128, 576})
    for (Index tokens = 1; tokens <= few; ++tokens) {
      const test::PackedProducts<TestType> products(tokens, 77, cols, 5);
      const auto [y1, y4] = test::with_one_and_four_threads([&] { return products.y(); });
      const auto [dx1, dx4] = test::with_one_and_four_threads([&] { return products.dx(); });
      REQUIRE(test::same_bits(y1, y4));
      REQUIRE(test::same_bits(dx1, dx4));
      REQUIRE(products.error_of(y1, dx1) == "");
    }
}

TEST_CASE("rows of x may stand apart in memory") {
  const auto w = qlora::quantize<qlora::formats::nf4>(test::normal_matrix(10, 30, 1));
  const RowMatrixXf wide = test::normal_matrix(2, 90, 2);
  RowMatrixXf y(2, 10), expected(2, 10);
  qlora::forward_product<float>(wide.middleCols(30, 30), w.view(), y);
  qlora::forward_product<float>(RowMatrixXf(wide.middleCols(30, 30)), w.view(), expected);
  REQUIRE(test::same_bits(y, expected));
}
