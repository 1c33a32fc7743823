#include "qlora/quant/dequantize.hpp"

#include "qlora/quant/quantize.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index;

TEMPLATE_TEST_CASE("dequantize is code value times scale, rounded once", "", QLORA_TEST_FORMATS) {
  const auto w = qlora::quantize<TestType>(test::normal_matrix(5, 77, 4));
  const qlora::RowMatrixXf back = qlora::dequantize(w);
  for (Index i = 0; i < back.size(); ++i) {
    const auto code = qlora::read_code<TestType::code_bits>(w.codes().data(), i);
    const volatile float product = static_cast<float>(TestType::CodebookType::values[code]) *
                                   w.view().scale()(i / w.block_size());
    REQUIRE(back.data()[i] == product);
  }
}

TEST_CASE("double gets the float's value") {
  const auto w = qlora::quantize<qlora::Nf4>(test::normal_matrix(4, 64, 8));
  REQUIRE(qlora::dequantize<double>(w) == qlora::dequantize(w).cast<double>());
}
