#include "qlora/quant/quantized_matrix.hpp"

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/formats.hpp"
#include "support/numbers.hpp"

TEST_CASE("a matrix is made from bytes as they are, or refused when they do not fit") {
  const qlora::RowMatrixXf dense = test::normal_matrix(6, 32, 1);
  const auto w = qlora::quantize<qlora::formats::nf4>(dense);
  const qlora::QuantizedMatrix<qlora::formats::nf4> again(w.codes(), w.scale(), 6, 32);
  REQUIRE(test::same_bits(qlora::dequantize(w), qlora::dequantize(again)));
  REQUIRE_THROWS_AS(qlora::QuantizedMatrix<qlora::formats::nf4>(w.codes(), w.scale(), 6, 33),
                    qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::QuantizedMatrix<qlora::formats::nf4>(w.codes(), {}, 6, 32),
                    qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::QuantizedMatrix<qlora::formats::nf4>(w.codes(), w.scale(), -6, -32),
                    qlora::ShapeError);
}

TEST_CASE("a matrix of any block size that holds nothing has no block") {
  const qlora::QuantizedMatrix<test::Int4Dynamic> none;
  REQUIRE((none.block_size() == 1 && none.view().block_count() == 0));
}

TEST_CASE("bytes are those of codes and scales") {
  REQUIRE(qlora::quantize<qlora::formats::nf4>(test::normal_matrix(64, 64, 1)).bytes() ==
          64 * 64 / 2 + 64 * 4);
  REQUIRE(qlora::quantize<test::Tern32>(test::normal_matrix(1, 33, 1)).bytes() == 9 + 2 * 2);
}
