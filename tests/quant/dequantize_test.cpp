#include "qlora/quant/dequantize.hpp"

#include "qlora/quant/quantize.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index;

namespace {

// What a code value means under each kind of scale; volatile keeps the roundings apart.
float plain(float value, float scale) {
  const volatile float product = value * scale;
  return product;
}
float plain(float value, qlora::ScaleAndOffset scale) {
  const volatile float product = value * scale.scale;
  return product + scale.offset;
}
float plain(float value, qlora::TwoFactors scale) {
  return plain(plain(value, scale.block), scale.tensor);
}

}  // namespace

TEMPLATE_TEST_CASE("dequantize is code value times scale, rounded once", "", QLORA_TEST_FORMATS) {
  const auto w = qlora::quantize<TestType>(test::normal_matrix(5, 77, 4));
  const qlora::RowMatrixXf back = qlora::dequantize(w);
  for (Index i = 0; i < back.size(); ++i) {
    const auto code = qlora::read_code<TestType::code_bits>(w.codes().data(), i);
    REQUIRE(back.data()[i] == plain(static_cast<float>(TestType::CodebookType::values[code]),
                                    w.view().scale()(i / w.block_size())));
  }
}

TEST_CASE("double gets the float's value") {
  const auto w = qlora::quantize<qlora::formats::nf4>(test::normal_matrix(4, 64, 8));
  REQUIRE(qlora::dequantize<double>(w) == qlora::dequantize(w).cast<double>());
}
