#include "qlora/linalg/blocked.hpp"

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"
#include "support/products.hpp"
#include "support/threads.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

#if QLORA_HAS_VECTORS
using qlora::linalg_detail::Float32;
using qlora::linalg_detail::WeightRef;

// Above and below the sizes of a block: 256 tokens, 256 columns, 256 of the depth.
TEST_CASE("products in blocks are as exact as float sums are, across the edges of blocks") {
  for (const auto& [tokens, out, in] : std::vector<std::array<Index, 3>>{
           {1, 1, 1}, {257, 49, 300}, {9, 300, 513}, {30, 64, 256}, {2, 97, 0}}) {
    INFO(tokens << " tokens, " << out << " x " << in);
    const auto w = test::normal_matrix(out, in, 1), x = test::normal_matrix(tokens, in, 2),
               dy = test::normal_matrix(tokens, out, 3);
    const auto y = [&] {
      RowMatrixXf made(tokens, out);
      qlora::linalg_detail::blocked_forward_product<Float32, float>(x, WeightRef(w), made);
      return made;
    };
    const auto dx = [&] {
      RowMatrixXf made(tokens, in);
      qlora::linalg_detail::blocked_backward_product<Float32, float>(dy, WeightRef(w), made);
      return made;
    };
    const auto [y1, y4] = test::with_one_and_four_threads(y);
    const auto [dx1, dx4] = test::with_one_and_four_threads(dx);
    REQUIRE(test::same_bits(y1, y4));
    REQUIRE(test::same_bits(dx1, dx4));
    REQUIRE(test::product_error(x.cast<double>(), w.cast<double>().transpose(), y1) == "");
    REQUIRE(test::product_error(dy.cast<double>(), w.cast<double>(), dx1) == "");
  }
}

TEST_CASE("a packed weight and its decoded numbers give the same bits") {
  const auto packed = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(70, 320, 1));
  const auto view = packed.view();
  const RowMatrixXf dense = qlora::dequantize(packed);
  const auto x = test::normal_matrix(20, 320, 2), dy = test::normal_matrix(20, 70, 3);
  const auto both = [&](const WeightRef& w) {
    std::pair<RowMatrixXf, RowMatrixXf> made{RowMatrixXf(20, 70), RowMatrixXf(20, 320)};
    qlora::linalg_detail::blocked_forward_product<Float32, float>(x, w, made.first);
    qlora::linalg_detail::blocked_backward_product<Float32, float>(dy, w, made.second);
    return made;
  };
  const auto [y, dx] = both(WeightRef(view));
  const auto [dense_y, dense_dx] = both(WeightRef(dense));
  REQUIRE(test::same_bits(y, dense_y));
  REQUIRE(test::same_bits(dx, dense_dx));
}

TEST_CASE("what a product adds comes in the same pass: beta, a bias and low rank") {
  const auto w = test::normal_matrix(33, 40, 1), x = test::normal_matrix(12, 40, 2),
             left = test::normal_matrix(12, 3, 4), b = test::normal_matrix(33, 3, 5);
  const qlora::ColumnVector<float> bias = test::normal_matrix(33, 1, 6).col(0);
  const RowMatrixXf before = test::normal_matrix(12, 33, 7);
  RowMatrixXf y = before;
  qlora::linalg_detail::blocked_forward_product<Float32, float>(
      x, WeightRef(w), y, {.beta = 0.5f, .bias = &bias, .low_rank = {&left, &b, 2.f}});
  const RowMatrixXf expected =
      ((x * w.transpose() + 2.f * left * b.transpose() + 0.5f * before).rowwise() +
       bias.transpose());
  // Sums of 43 numbers near 1 with two terms more: some units in the last place of 10.
  REQUIRE((y - expected).cwiseAbs().maxCoeff() < 1e-4f);
}
#endif
