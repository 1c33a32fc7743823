#include "qlora/linalg/four_bit_products.hpp"

#include <algorithm>
#include <vector>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"
#include "support/products.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

#if QLORA_HAS_VECTORS
using qlora::linalg_detail::WeightRef;

TEST_CASE("4-bit codes of one table fuse where rows and blocks are whole steps") {
  const auto fuses = [](const auto& w) {
    const auto view = w.view();
    return qlora::linalg_detail::can_fuse(WeightRef(view));
  };
  const Index step = qlora::linalg_detail::fused_step;
  REQUIRE(64 % step == 0);
  REQUIRE(fuses(qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(3, 2 * step, 1))));
  REQUIRE_FALSE(
      fuses(qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(3, step + 2, 1))));
  REQUIRE_FALSE(
      fuses(qlora::quantize<qlora::formats::nf3>(test::normal_matrix(3, 64, 1))));  // 3 bits
  REQUIRE_FALSE(
      fuses(qlora::quantize<qlora::formats::q4_1>(test::normal_matrix(3, 64, 1))));  // affine
  const RowMatrixXf dense = test::normal_matrix(3, 64, 1);
  REQUIRE_FALSE(qlora::linalg_detail::can_fuse(WeightRef(dense)));
}

TEST_CASE("the order of a look-up visits every column of a step once, high nibbles first") {
  const Index step = qlora::linalg_detail::fused_step, cols = 3 * step;
  std::vector<Index> columns;
  qlora::linalg_detail::for_fused_order(cols, [&](Index col, Index place) {
    REQUIRE(place == static_cast<Index>(columns.size()));
    columns.push_back(col);
  });
  for (Index i = 0; i < cols; ++i) {
    const Index col = columns[static_cast<std::size_t>(i)];
    REQUIRE(col / step == i / step);
    REQUIRE(col % 2 == (i % step < step / 2 ? 0 : 1));
  }
  std::sort(columns.begin(), columns.end());
  for (Index i = 0; i < cols; ++i) REQUIRE(columns[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("scales of rows are read together, some rows at a time") {
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(40, 64, 2));
  const auto view = w.view();
  const WeightRef ref(view);
  qlora::linalg_detail::RowScales scales(ref);
  scales.read(3, 32);
  for (Index block = 3; block < 35; ++block) REQUIRE(scales(block) == view.scale()(block));
}

TEST_CASE("both fused products are the decoded matrix's within float sums") {
  const Index rows = 9, cols = 192, tokens = 2;
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(rows, cols, 3));
  const auto view = w.view();
  const WeightRef ref(view);
  const qlora::RowMatrixXd dense = qlora::dequantize(w).cast<double>();
  const auto x = test::normal_matrix(tokens, cols, 4), dy = test::normal_matrix(tokens, rows, 5);
  RowMatrixXf ordered(tokens, cols), y(tokens, rows), dx(tokens, cols);
  const auto in_order = [&](auto&& move) {
    for (Index t = 0; t < tokens; ++t)
      qlora::linalg_detail::for_fused_order(cols,
                                            [&](Index col, Index place) { move(t, col, place); });
  };
  in_order([&](Index t, Index col, Index place) { ordered(t, place) = x(t, col); });
  qlora::MatrixRef<float> to(y);
  qlora::linalg_detail::fused_forward_product<2, 1>(ordered.data(), ref, 0, 0, rows, 0, to);
  REQUIRE(test::product_error(x.cast<double>(), dense.transpose(), y) == "");

  ordered.setZero();
  qlora::linalg_detail::fused_backward_product<2>(dy.data(), rows, ref, 0, cols, ordered.data(),
                                                  cols);
  in_order([&](Index t, Index col, Index place) { dx(t, col) = ordered(t, place); });
  REQUIRE(test::product_error(dy.cast<double>(), dense, dx) == "");
}

TEST_CASE(
    "rows are shared out in pairs for one token, the odd one and parted blocks by themselves") {
  const auto groups = []<int Tokens>(std::integral_constant<int, Tokens>, Index cols) {
    const auto w = qlora::quantize<qlora::formats::nf4>(test::normal_matrix(8, cols, 1));
    const auto view = w.view();
    std::vector<std::array<Index, 3>> all;
    qlora::linalg_detail::for_row_groups<Tokens>(WeightRef(view), 1, 6,
                                                 [&]<int Rows>(Index first, Index last) {
                                                   all.push_back({Rows, first, last});
                                                 });
    return all;
  };
  using Groups = std::vector<std::array<Index, 3>>;
  REQUIRE(groups(std::integral_constant<int, 1>{}, 64) == Groups{{2, 1, 5}, {1, 5, 6}});
  REQUIRE(groups(std::integral_constant<int, 2>{}, 64) == Groups{{1, 1, 6}});
  REQUIRE(groups(std::integral_constant<int, 1>{}, 96) == Groups{{1, 1, 6}});
}
#endif
