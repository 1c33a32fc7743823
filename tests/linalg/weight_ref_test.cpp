#include "qlora/linalg/weight_ref.hpp"

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/formats.hpp"
#include "support/numbers.hpp"

#if QLORA_HAS_VECTORS
TEST_CASE("a weight by reference is the weight, and its scales are the scales") {
  test::for_each_format([]<class F>(const std::string& name) {
    INFO(name);
    const auto w = qlora::quantize<F>(test::normal_matrix(9, 200, 1));
    const auto view = w.view();
    const qlora::RowMatrixXf dense = qlora::dequantize(w);
    const qlora::linalg_detail::WeightRef ref(view);
    REQUIRE(ref.rows() == 9);
    REQUIRE(ref.cols() == 200);
    REQUIRE_FALSE(ref.is_dense());
    std::vector<float> row(150);
    ref.decode(7, 33, 150, row.data());
    for (qlora::Index i = 0; i < 150; ++i)
      REQUIRE(row[static_cast<std::size_t>(i)] == dense(7, 33 + i));
    if (!ref.is_four_bit()) return;
    if constexpr (requires { view.scale()(0) + 1.f; }) {
      const qlora::Index blocks = view.block_count();
      std::vector<float> scales(static_cast<std::size_t>(blocks));
      ref.scales(1, blocks - 1, scales.data());
      for (qlora::Index i = 1; i < blocks; ++i)
        REQUIRE(scales[static_cast<std::size_t>(i - 1)] == view.scale()(i));
    }
  });
}

TEST_CASE("a dense weight is read where it lies") {
  const qlora::RowMatrixXf whole = test::normal_matrix(6, 50, 1);
  const qlora::linalg_detail::WeightRef ref(whole.middleCols(10, 20));
  REQUIRE(ref.is_dense());
  REQUIRE(ref.dense(3, 4) == &whole(3, 14));
  REQUIRE(ref.stride() == 50);
}
#endif
