#include "qlora/linalg/amx.hpp"

#include "qlora/linalg/dispatch.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"
#include "support/packed_products.hpp"

using qlora::Index;
using qlora::RowMatrixXd;
using qlora::RowMatrixXf;

#if QLORA_HAS_VECTORS

namespace {

// Whether the kernel can run: in arrays, or in tile registers that the system grants.
bool tiles_can_run() {
#if QLORA_HAS_AMX
  return qlora::linalg_detail::amx_granted();
#else
  return true;
#endif
}

}  // namespace

// On processors without the registers the same kernel runs in arrays.
TEMPLATE_TEST_CASE("products in tiles are as exact as float sums of rounded factors", "",
                   qlora::formats::nf4_dq, test::Nf4Odd, qlora::formats::q8_0) {
  if (!tiles_can_run()) {
    WARN("skipped: the system does not grant AMX");
    return;
  }
  test::law("x Wᵀ and dy W", [](std::uint64_t seed, std::uint8_t tokens, std::uint8_t out,
                                std::uint8_t in) {
    const Index n = tokens % 70, rows = out % 200 + 1, cols = in % 200 + 1;
    const test::PackedProducts<TestType> products(n, rows, cols, seed, 0.05,
                                                  qlora::Compute::bfloat16);
    const auto view = products.w.view();
    const qlora::linalg_detail::WeightRef weight(view);
    RowMatrixXf y(n, rows), dx(n, cols);
    qlora::linalg_detail::blocked_forward_product<qlora::linalg_detail::AmxBfloat16, float>(
        products.x, weight, y);
    qlora::linalg_detail::blocked_backward_product<qlora::linalg_detail::AmxBfloat16, float>(
        products.dy, weight, dx);
    const auto error = products.error_of(y, dx);
    if (!error.empty()) RC_FAIL(error);
  });
}

TEST_CASE("a depth of several blocks of tiles, with everything that is added") {
  if (!tiles_can_run()) return;
  const Index depth = 2 * qlora::linalg_detail::AmxBfloat16::block_depth + 40;
  const auto w = qlora::quantize<qlora::formats::nf4>(test::normal_matrix(33, depth, 1));
  const auto view = w.view();
  const RowMatrixXf x = test::normal_matrix(35, depth, 2), low = test::normal_matrix(35, 4, 3),
                    b = test::normal_matrix(33, 4, 4);
  RowMatrixXf y = test::normal_matrix(35, 33, 5);
  const RowMatrixXd expected =
      test::rounded_to_bfloat16(x) * test::rounded_to_bfloat16(qlora::dequantize(w)).transpose() +
      2 * y.cast<double>() + 0.5 * low.cast<double>() * b.transpose().cast<double>();
  qlora::linalg_detail::blocked_forward_product<qlora::linalg_detail::AmxBfloat16, float>(
      x, qlora::linalg_detail::WeightRef(view), y, {.beta = 2, .low_rank = {&low, &b, 0.5f}});
  REQUIRE((y.cast<double>() - expected).norm() < 1e-5 * expected.norm());
}

#endif
