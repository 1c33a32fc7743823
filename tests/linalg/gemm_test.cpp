#include "qlora/linalg/gemm.hpp"

#include <limits>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/formats.hpp"
#include "support/guarded.hpp"
#include "support/law.hpp"
#include "support/memory.hpp"
#include "support/numbers.hpp"
#include "support/packed_products.hpp"
#include "support/sanitized.hpp"
#include "support/threads.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

TEMPLATE_TEST_CASE("products with packed weights are as exact as float sums are", "",
                   QLORA_TEST_FORMATS) {
  test::law("x Wᵀ and dy W",
            [](std::uint64_t seed, std::uint8_t tokens, std::uint8_t out, std::uint8_t in) {
              const Index n = tokens % 20, rows = out % 200 + 1, cols = in % 200 + 1;
              const auto error = test::PackedProducts<TestType>(n, rows, cols, seed, 0.05).error();
              if (!error.empty()) RC_FAIL(error);
            });
}

TEST_CASE("empty matrices give empty or zero products") {
  const auto none = qlora::quantize<qlora::formats::nf4>(RowMatrixXf(0, 64));
  RowMatrixXf y(3, 0), dx = RowMatrixXf::Ones(3, 64);
  qlora::forward_product<float>(RowMatrixXf::Ones(3, 64), none.view(), y);
  qlora::backward_product<float>(RowMatrixXf(3, 0), none.view(), dx);
  REQUIRE(dx.isZero(0));
}

TEST_CASE("NaN and infinity in activations pass through as in the dense product") {
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(40, 70, 1));
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  for (const Index tokens : {2, 12})
    for (const float bad : {nan, infinity, -infinity}) {
      RowMatrixXf x = test::normal_matrix(tokens, 70, 2), y(tokens, 40);
      x(1, 69) = bad;
      qlora::forward_product<float>(x, w.view(), y);
      const RowMatrixXf dense = x * qlora::dequantize(w).transpose();
      for (Index i = 0; i < y.size(); ++i) {
        REQUIRE(std::isnan(y.data()[i]) == std::isnan(dense.data()[i]));
        REQUIRE(std::isinf(y.data()[i]) == std::isinf(dense.data()[i]));
      }
    }
}

TEST_CASE("one and many threads give the same bits") {
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(213, 190, 1));
  for (const Index tokens : {1, 3, 4, 5, 64, 100}) {
    const RowMatrixXf x = test::normal_matrix(tokens, 190, 2),
                      dy = test::normal_matrix(tokens, 213, 3);
    const auto [y1, y4] = test::with_one_and_four_threads([&] {
      RowMatrixXf y(tokens, 213);
      qlora::forward_product<float>(x, w.view(), y);
      return y;
    });
    const auto [dx1, dx4] = test::with_one_and_four_threads([&] {
      RowMatrixXf dx(tokens, 190);
      qlora::backward_product<float>(dy, w.view(), dx);
      return dx;
    });
    REQUIRE(test::same_bits(y1, y4));
    REQUIRE(test::same_bits(dx1, dx4));
  }
}

TEST_CASE("shapes that do not fit are refused and outputs stay as they were") {
  const auto w = qlora::quantize<qlora::formats::nf4>(test::normal_matrix(8, 16, 1));
  RowMatrixXf y = RowMatrixXf::Constant(2, 8, 3.f);
  REQUIRE_THROWS_AS(qlora::forward_product<float>(RowMatrixXf::Ones(2, 15), w.view(), y),
                    qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::backward_product<float>(RowMatrixXf::Ones(2, 8), w.view(), y),
                    qlora::ShapeError);
  REQUIRE(y == RowMatrixXf::Constant(2, 8, 3.f));
}

// Codes, scales, activations and results that end where a page ends that may not be touched.
TEMPLATE_TEST_CASE("nothing outside the buffers is touched", "", qlora::formats::nf4,
                   qlora::formats::nf3, qlora::formats::nf8, test::Nf4Odd) {
  using Scales = typename TestType::ScaleType::View;
  for (const Index rows : {1, 5, 64})
    for (const Index cols : {1, 31, 64, 100, 192})
      for (const Index tokens : {1, 4, 9, 33})
        for (const auto compute : {qlora::Compute::float32, qlora::Compute::bfloat16}) {
          const auto w = qlora::quantize<TestType>(test::normal_matrix(rows, cols, 1));
          const test::Guarded<std::uint8_t> codes(w.codes().data(), w.codes().size());
          const test::Guarded<float> scales(w.scale().values.data(), w.scale().values.size());
          const qlora::QuantizedView<TestType> view(codes.data(), Scales{scales.data()}, rows, cols,
                                                    w.block_size());
          const RowMatrixXf inputs = test::normal_matrix(tokens, std::max(rows, cols), 2);
          const auto size = [](Index a, Index b) { return static_cast<std::size_t>(a * b); };
          const test::Guarded<float> x(inputs.data(), size(tokens, cols)),
              dy(inputs.data(), size(tokens, rows)), y(size(tokens, rows)), dx(size(tokens, cols));
          using Map = Eigen::Map<RowMatrixXf>;
          Map y_map(y.data(), tokens, rows), dx_map(dx.data(), tokens, cols);
          qlora::forward_product<float>(Map(x.data(), tokens, cols), view, y_map,
                                        {.compute = compute});
          qlora::backward_product<float>(Map(dy.data(), tokens, rows), view, dx_map,
                                         {.compute = compute});
          REQUIRE(y_map.allFinite());
          REQUIRE(dx_map.allFinite());
        }
}

#if !QLORA_SANITIZED
TEST_CASE("the whole matrix is never dense in memory") {
  constexpr Index rows = 16384, cols = 1024;  // 64 MiB as floats
  const auto w = qlora::quantize<qlora::formats::nf4>(RowMatrixXf::Ones(rows, cols));
  const RowMatrixXf x = RowMatrixXf::Ones(16, cols), dy = RowMatrixXf::Ones(16, rows);
  RowMatrixXf y = RowMatrixXf::Zero(16, rows), dx = RowMatrixXf::Zero(16, cols);
  REQUIRE(test::peak_growth_mib([&] { qlora::forward_product<float>(x, w.view(), y); }) < 16);
  REQUIRE(test::peak_growth_mib([&] { qlora::backward_product<float>(dy, w.view(), dx); }) < 16);
  REQUIRE(y(0, 0) == cols);
  REQUIRE(dx(0, 0) == rows);
}
#endif
