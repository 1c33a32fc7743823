#include "qlora/linalg/micro_kernel.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/guarded.hpp"
#include "support/numbers.hpp"
#include "support/products.hpp"

using qlora::Index;

#if QLORA_HAS_VECTORS
using qlora::linalg_detail::Float32;

namespace {

// c (+)= a b by strips. Operands end at a guard page; c's columns beyond `cols` must stay.
qlora::RowMatrixXf product(bool clear, const qlora::RowMatrixXf& a, const qlora::RowMatrixXf& b,
                           float start) {
  constexpr Index width = Float32::tile_width;
  const Index rows = a.rows(), cols = b.cols(), depth = a.cols();
  const Index strips = (cols + width - 1) / width;
  const test::Guarded<float> packed(static_cast<std::size_t>(strips * depth * width));
  for (Index s = 0; s < strips; ++s)
    for (Index k = 0; k < depth; ++k)
      for (Index i = 0; i < width; ++i)
        packed.data()[(s * depth + k) * width + i] =
            s * width + i < cols ? b(k, s * width + i) : 0.f;
  const Index stride = cols + 3;
  const test::Guarded<float> c(static_cast<std::size_t>(rows * stride));
  std::fill_n(c.data(), rows * stride, start);
  qlora::linalg_detail::multiply_strips<Float32>(clear, rows, cols, depth, a.data(), a.cols(),
                                                 packed.data(), depth * width, c.data(), stride);
  qlora::RowMatrixXf result(rows, cols);
  for (Index r = 0; r < rows; ++r)
    for (Index i = 0; i < stride; ++i) {
      if (i < cols) result(r, i) = c.data()[r * stride + i];
      if (i >= cols) REQUIRE(c.data()[r * stride + i] == start);
    }
  return result;
}

}  // namespace

TEST_CASE("tiles of any height and width are the product, and touch nothing else") {
  for (const Index rows : {1, 2, 5, 6, 11, 12, 13, 25})
    for (const Index cols : {1, 7, 16, 17, 32, 45}) {
      const auto a = test::normal_matrix(rows, 19, 1), b = test::normal_matrix(19, cols, 2);
      INFO(rows << " x " << cols);
      REQUIRE(test::product_error(a.cast<double>(), b.cast<double>(), product(true, a, b, 9)) ==
              "");
    }
}

TEST_CASE("without clear the product is added to what is there") {
  // Small whole numbers: every sum is exact.
  const qlora::RowMatrixXf a = qlora::RowMatrixXf::Constant(7, 4, 2.f),
                           b = qlora::RowMatrixXf::Constant(4, 21, 3.f);
  REQUIRE((product(false, a, b, 5).array() == 29.f).all());
  REQUIRE((product(true, a, b, 5).array() == 24.f).all());
}

TEST_CASE("a number's sum has one order, whatever tile it falls into") {
  const auto a = test::normal_matrix(26, 300, 3), b = test::normal_matrix(300, 40, 4);
  const auto whole = product(true, a, b, 0);
  for (const Index rows : {1, 3, 12})
    REQUIRE(test::same_bits(qlora::RowMatrixXf(whole.topRows(rows)),
                            product(true, a.topRows(rows), b, 0)));
  REQUIRE(
      test::same_bits(qlora::RowMatrixXf(whole.leftCols(5)), product(true, a, b.leftCols(5), 0)));
}
#endif
