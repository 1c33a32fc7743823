#include "qlora/linalg/panels.hpp"

#include <vector>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index;

#if QLORA_HAS_VECTORS
using qlora::bfloat16;
using qlora::linalg_detail::Bfloat16;
using qlora::linalg_detail::Float32;
using qlora::linalg_detail::WeightRef;

namespace {

// Place of column `col`, depth `k` in strips.
template <class Arithmetic>
Index place(Index col, Index k, Index depth) {
  constexpr Index width = Arithmetic::tile_width, step = Arithmetic::depth_step;
  return col / width * width * depth + k / step * step * width + col % width * step + k % step;
}

template <class Arithmetic>
typename Arithmetic::Number number(float x) {
  return static_cast<typename Arithmetic::Number>(x);
}

template <class Arithmetic>
void compare_column_panel(const WeightRef& w, const qlora::RowMatrixXf& dense) {
  const Index row = 2, rows = 5, col = 3, cols = 37;
  const Index depth = qlora::linalg_detail::padded_depth<Arithmetic>(rows),
              all = qlora::linalg_detail::padded<Arithmetic>(cols);
  std::vector<typename Arithmetic::Number> panel(static_cast<std::size_t>(all * depth),
                                                 number<Arithmetic>(99));
  qlora::linalg_detail::column_panel<Arithmetic>(w, row, rows, col, cols, panel.data());
  for (Index c = 0; c < all; ++c)
    for (Index k = 0; k < depth; ++k) {
      const float expected = c < cols && k < rows ? dense(row + k, col + c) : 0.f;
      INFO("column " << c << ", depth " << k);
      REQUIRE(static_cast<float>(panel[static_cast<std::size_t>(place<Arithmetic>(c, k, depth))]) ==
              static_cast<float>(number<Arithmetic>(expected)));
    }
}

template <class Arithmetic>
void compare_tokens() {
  const auto x = test::normal_matrix(45, 77, 6);
  const Index first = 4, tokens = 39;
  const Index depth = qlora::linalg_detail::padded_depth<Arithmetic>(x.cols()),
              all = qlora::linalg_detail::padded<Arithmetic>(tokens);
  std::vector<typename Arithmetic::Number> packed(static_cast<std::size_t>(all * depth),
                                                  number<Arithmetic>(99));
  qlora::linalg_detail::pack_tokens<Arithmetic, float>(x, first, tokens, packed.data());
  for (Index t = 0; t < all; ++t)
    for (Index k = 0; k < depth; ++k) {
      const float expected = t < tokens && k < x.cols() ? x(first + t, k) : 0.f;
      INFO("token " << t << ", depth " << k);
      REQUIRE(
          static_cast<float>(packed[static_cast<std::size_t>(place<Arithmetic>(t, k, depth))]) ==
          static_cast<float>(number<Arithmetic>(expected)));
    }
}

}  // namespace

TEST_CASE("strips of weights hold the decoded numbers in the kernel's order, zeros around them") {
  const auto w = qlora::quantize<qlora::formats::nf4>(test::normal_matrix(9, 64, 5));
  const auto view = w.view();
  const qlora::RowMatrixXf dense = qlora::dequantize(w);
  compare_column_panel<Float32>(WeightRef(view), dense);
  compare_column_panel<Float32>(WeightRef(dense), dense);
  compare_column_panel<Bfloat16>(WeightRef(view), dense);
  compare_column_panel<Bfloat16>(WeightRef(dense), dense);
}

TEST_CASE("strips of tokens hold the numbers in the kernel's order, zeros around them") {
  compare_tokens<Float32>();
  compare_tokens<Bfloat16>();
}

TEST_CASE("rows of a dense weight are taken where they lie, those of a packed one are decoded") {
  const auto packed = qlora::quantize<qlora::formats::nf4>(test::normal_matrix(9, 64, 5));
  const auto view = packed.view();
  const qlora::RowMatrixXf dense = qlora::dequantize(packed);
  std::vector<float> buffer(3 * qlora::linalg_detail::panel_stride<Float32>);
  const auto there =
      qlora::linalg_detail::row_panel<Float32>(WeightRef(dense), 4, 3, 10, 20, nullptr);
  REQUIRE(there.data == &dense(4, 10));
  REQUIRE(there.stride == 64);
  const auto decoded =
      qlora::linalg_detail::row_panel<Float32>(WeightRef(view), 4, 3, 10, 20, buffer.data());
  REQUIRE(decoded.data == buffer.data());
  for (Index r = 0; r < 3; ++r)
    REQUIRE(test::same_bits(decoded.data + r * decoded.stride, &dense(4 + r, 10), 20));
}

TEST_CASE("rows of x a multiple of 2 KiB apart are copied, others are not") {
  const auto apart = test::normal_matrix(3, 512, 1), near = test::normal_matrix(3, 500, 2);
  const auto moved = qlora::linalg_detail::number_rows<Float32, float>(apart);
  REQUIRE(moved.data != apart.data());
  for (Index r = 0; r < 3; ++r)
    REQUIRE(test::same_bits(moved.data + r * moved.stride, &apart(r, 0), 512));
  REQUIRE(qlora::linalg_detail::number_rows<Float32, float>(near).data == near.data());
}

TEST_CASE("a turned result gets beta times what was there and a bias for each row") {
  const auto result = test::normal_matrix(8, 20, 3);
  qlora::RowMatrixXf y = qlora::RowMatrixXf::Constant(20, 9, 4.f);
  const std::vector<float> bias{1, 2, 3, 4, 5, 6};
  qlora::linalg_detail::store_transposed(result.data(), 20, 6, 20, 0.5f, bias.data(), y.data(), 9);
  for (Index token = 0; token < 20; ++token)
    for (Index row = 0; row < 9; ++row)
      REQUIRE(y(token, row) ==
              (row < 6 ? result(row, token) + 2.f + bias[static_cast<std::size_t>(row)] : 4.f));
}
#endif
