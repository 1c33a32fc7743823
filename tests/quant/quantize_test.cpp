#include "qlora/quant/quantize.hpp"

#include <cmath>
#include <limits>

#include "qlora/quant/dequantize.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"
#include "support/threads.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

TEST_CASE("decoded weights are within half a gap of the codebook") {
  test::law("nf4 error bound", [](std::uint64_t seed, std::uint16_t size) {
    const RowMatrixXf x = test::normal_matrix(1, size % 700, seed, 0.02);
    const RowMatrixXf back = qlora::dequantize(qlora::quantize<qlora::formats::nf4>(x));
    for (Index begin = 0; begin < x.cols(); begin += 64) {
      const Index n = std::min<Index>(64, x.cols() - begin);
      const float absmax = x.row(0).segment(begin, n).cwiseAbs().maxCoeff();
      // The widest gap of NF4 is that between -1 and -0.696.
      const float bound = absmax * (1 - 0.6961928f) / 2 * 1.000001f;
      RC_ASSERT((x - back).row(0).segment(begin, n).cwiseAbs().maxCoeff() <= bound);
    }
  });
}

TEMPLATE_TEST_CASE("quantizing decoded weights again changes nothing", "", qlora::formats::nf4,
                   test::Fp4Half, test::Tern32) {
  // Holds where the largest magnitude is met exactly and scales are stored exactly enough to come
  // back.
  const RowMatrixXf once =
      qlora::dequantize(qlora::quantize<TestType>(test::normal_matrix(9, 65, 3)));
  const RowMatrixXf twice = qlora::dequantize(qlora::quantize<TestType>(once));
  REQUIRE((once - twice).cwiseAbs().maxCoeff() <= 1e-6f);
}

TEMPLATE_TEST_CASE("zeros stay zeros, and nothing stays nothing", "", QLORA_TEST_FORMATS) {
  const auto zero = qlora::quantize<TestType>(RowMatrixXf::Zero(3, 50));
  REQUIRE(qlora::dequantize(zero).cwiseAbs().maxCoeff() == 0.f);
  const auto empty = qlora::quantize<TestType>(RowMatrixXf(0, 5));
  REQUIRE(empty.rows() == 0);
  REQUIRE(qlora::dequantize(empty).size() == 0);
  const auto one = qlora::quantize<TestType>(RowMatrixXf::Constant(1, 1, 0.75f));
  REQUIRE(std::abs(qlora::dequantize(one)(0, 0) - 0.75f) < 2e-3f);
}

TEST_CASE("a block of zeros has NF4's code 7 and FP4's code 0") {
  REQUIRE(qlora::quantize<qlora::formats::nf4>(RowMatrixXf::Zero(1, 64)).codes().front() == 0x77);
  REQUIRE(qlora::quantize<test::Fp4Half>(RowMatrixXf::Zero(1, 64)).codes().front() == 0x00);
}

TEST_CASE("NaN and infinity are refused by row and column, or saturated on request") {
  RowMatrixXf x = test::normal_matrix(5, 40, 1);
  x(3, 17) = std::numeric_limits<float>::quiet_NaN();
  const auto text =
      test::message_of<qlora::NumericError>([&] { (void)qlora::quantize<qlora::formats::nf4>(x); });
  REQUIRE(test::contains(text, "row 3, column 17"));
  x(3, 17) = -std::numeric_limits<float>::infinity();
  REQUIRE_THROWS_AS(qlora::quantize<qlora::formats::nf4>(x), qlora::NumericError);
  const auto saturated = qlora::dequantize(
      qlora::quantize<qlora::formats::nf4>(x, {.non_finite = qlora::OnNonFinite::saturate}));
  REQUIRE(saturated(3, 17) == -std::numeric_limits<float>::max());
  x(3, 17) = std::numeric_limits<float>::quiet_NaN();
  const auto zeroed = qlora::dequantize(
      qlora::quantize<qlora::formats::nf4>(x, {.non_finite = qlora::OnNonFinite::saturate}));
  REQUIRE(zeroed(3, 17) == 0.f);
}

TEST_CASE("huge and tiny weights keep their signs and their size") {
  RowMatrixXf x(1, 4);
  x << 3e38f, -3e38f, 1e38f, 0.f;
  const auto huge = qlora::dequantize(qlora::quantize<qlora::formats::nf4>(x));
  REQUIRE(huge(0, 0) == 3e38f);
  REQUIRE(huge(0, 1) == -3e38f);
  x << 1e-39f, -1e-39f, 0.f, 0.f;  // below the smallest divisor
  const auto tiny = qlora::dequantize(qlora::quantize<qlora::formats::nf4>(x));
  REQUIRE(tiny.cwiseAbs().maxCoeff() <= 1e-38f);
}

TEST_CASE("a block size must be given where any is taken, and a fixed one can't be changed") {
  const RowMatrixXf x = test::normal_matrix(4, 48, 2);
  REQUIRE_THROWS_AS(qlora::quantize<test::Int4Dynamic>(x), qlora::OptionError);
  REQUIRE(qlora::quantize<test::Int4Dynamic>(x, {.block_size = 48}).scale().values.size() == 4);
  REQUIRE_THROWS_AS(qlora::quantize<qlora::formats::nf4>(x, {.block_size = 32}),
                    qlora::OptionError);
}

TEST_CASE("any dense expression can be quantized, and threads do not change the bytes") {
  const RowMatrixXf x = test::normal_matrix(333, 77, 5);
  const Eigen::MatrixXd columns = x.cast<double>();
  const auto a = qlora::quantize<qlora::formats::nf4_dq>(x),
             b = qlora::quantize<qlora::formats::nf4_dq>(columns);
  const auto c = qlora::quantize<qlora::formats::nf4_dq>(2.f * x.middleRows(0, 333) - x);
  REQUIRE(a.codes() == b.codes());
  REQUIRE(a.codes() == c.codes());
  REQUIRE(a.scale().codes == b.scale().codes);
  const auto [one, four] =
      test::with_one_and_four_threads([&] { return qlora::quantize<qlora::formats::nf4_dq>(x); });
  for (const auto* w : {&one, &four}) {
    REQUIRE(w->codes() == a.codes());
    REQUIRE(w->scale().codes == a.scale().codes);
  }
}
