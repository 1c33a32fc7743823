#include "qlora/linalg/bfloat16.hpp"

#include <cstring>
#include <limits>
#include <vector>

#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"
#include "support/packed_products.hpp"
#include "support/threads.hpp"

using qlora::bfloat16;
using qlora::Compute;
using qlora::Index;
using qlora::RowMatrixXd;
using qlora::RowMatrixXf;

#if QLORA_HAS_VECTORS

TEST_CASE("vectors round to bfloat16 as single numbers do") {
  std::vector<float> numbers;
  for (std::uint32_t upper = 0; upper < 65536; upper += 7)
    for (const std::uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      numbers.push_back(__builtin_bit_cast(float, upper << 16 | lower));
  const auto count = static_cast<Index>(numbers.size());
  std::vector<bfloat16> rounded(numbers.size());
  qlora::linalg_detail::round_to_bfloat16(numbers.data(), count, rounded.data());
  std::vector<float> kept = numbers;
  qlora::linalg_detail::keep_bfloat16(kept.data(), count);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    REQUIRE(rounded[i].bits == bfloat16(numbers[i]).bits);
    REQUIRE(__builtin_bit_cast(std::uint32_t, kept[i]) == std::uint32_t{rounded[i].bits} << 16);
  }
}

TEMPLATE_TEST_CASE("bfloat16 products are as exact as float sums of rounded factors", "",
                   QLORA_TEST_FORMATS) {
  test::law("x Wᵀ and dy W", [](std::uint64_t seed, std::uint8_t tokens, std::uint8_t out,
                                std::uint8_t in) {
    const Index n = tokens % 70, rows = out % 200 + 1, cols = in % 200 + 1;
    const auto error =
        test::PackedProducts<TestType>(n, rows, cols, seed, 0.05, Compute::bfloat16).error();
    if (!error.empty()) RC_FAIL(error);
  });
}

// Rows and blocks of whole steps: where the processor has instructions for it, codes are looked up
// in bfloat16.
TEMPLATE_TEST_CASE("whole steps of bfloat16 are as exact, for any number of tokens and of threads",
                   "", qlora::formats::nf4, qlora::formats::nf4_dq, qlora::formats::bof4_s,
                   qlora::formats::learned4, qlora::formats::q4_0) {
  for (const Index cols : {64, 576})
    for (const Index tokens : {1, 2, 3, 4, 7, 40}) {
      const test::PackedProducts<TestType> products(tokens, 77, cols, 5, 1, Compute::bfloat16);
      const auto [y1, y4] = test::with_one_and_four_threads([&] { return products.y(); });
      const auto [dx1, dx4] = test::with_one_and_four_threads([&] { return products.dx(); });
      REQUIRE(test::same_bits(y1, y4));
      REQUIRE(test::same_bits(dx1, dx4));
      REQUIRE(products.error_of(y1, dx1) == "");
    }
}

TEST_CASE("NaN and infinity pass through bfloat16 products") {
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(40, 64, 1));
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  for (const Index tokens : {2, 40})
    for (const float bad : {nan, infinity, -infinity}) {
      RowMatrixXf x = test::normal_matrix(tokens, 64, 2), y(tokens, 40);
      x(1, 63) = bad;
      qlora::forward_product<float>(x, w.view(), y, {.compute = Compute::bfloat16});
      const RowMatrixXf dense = x * qlora::dequantize(w).transpose();
      for (Index i = 0; i < y.size(); ++i) {
        REQUIRE(std::isnan(y.data()[i]) == std::isnan(dense.data()[i]));
        REQUIRE(std::isinf(y.data()[i]) == std::isinf(dense.data()[i]));
      }
    }
}

#endif

TEST_CASE("activations may be stored in bfloat16") {
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(70, 90, 1));
  const RowMatrixXd dense = qlora::dequantize<double>(w);
  for (const Index tokens : {0, 1, 5, 40}) {
    const RowMatrixXf x = test::normal_matrix(tokens, 90, 2),
                      dy = test::normal_matrix(tokens, 70, 3);
    const auto stored = [](const RowMatrixXf& m) {
      qlora::RowMatrix<bfloat16> numbers(m.rows(), m.cols());
      for (Index i = 0; i < m.size(); ++i) numbers.data()[i] = bfloat16(m.data()[i]);
      return numbers;
    };
    RowMatrixXf y(tokens, 70), dx(tokens, 90);
    qlora::forward_product<bfloat16>(stored(x), w.view(), y);
    qlora::backward_product<bfloat16>(stored(dy), w.view(), dx);
    REQUIRE(test::product_error(test::rounded_to_bfloat16(x), dense.transpose(), y) == "");
    REQUIRE(test::product_error(test::rounded_to_bfloat16(dy), dense, dx) == "");
  }
}
