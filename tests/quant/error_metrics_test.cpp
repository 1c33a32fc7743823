#include "qlora/quant/error_metrics.hpp"

#include <cmath>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

TEST_CASE("the error of packed weights is that of their dense form") {
  const qlora::RowMatrixXf x = test::normal_matrix(17, 43, 1);
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(x);
  const auto error = qlora::quantization_error(x, w.view());
  const qlora::RowMatrixXd difference = (x - qlora::dequantize(w)).cast<double>();
  REQUIRE(std::abs(error.mean_squared - difference.squaredNorm() / 731.0) < 1e-9);
  REQUIRE(std::abs(error.largest - difference.cwiseAbs().maxCoeff()) < 1e-9);
  const double ratio = x.cast<double>().squaredNorm() / difference.squaredNorm();
  REQUIRE(std::abs(error.signal_to_noise_db - 10 * std::log10(ratio)) < 1e-6);
}

TEST_CASE("no error is an infinite signal to noise ratio; shapes must be equal") {
  const qlora::RowMatrixXf zero = qlora::RowMatrixXf::Zero(2, 64);
  const auto w = qlora::quantize<qlora::formats::nf4>(zero);
  REQUIRE(std::isinf(qlora::quantization_error(zero, w.view()).signal_to_noise_db));
  REQUIRE_THROWS_AS(qlora::quantization_error(qlora::RowMatrixXf::Zero(2, 63), w.view()),
                    qlora::ShapeError);
}
