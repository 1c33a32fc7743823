#include "qlora/cuda/embedding.hpp"

#include "cuda/device.hpp"
#include "qlora/nn/embedding.hpp"
#include "qlora/quant/named_formats.hpp"

TEMPLATE_TEST_CASE("rows of a packed table, bit for bit", "", qlora::formats::nf4_dq,
                   qlora::formats::q4_1) {
  const auto table = qlora::quantize<TestType>(test::normal_matrix(11, 37, 1));
  const std::vector<std::int32_t> ids{10, 0, 3, 3, 7};
  qlora::RowMatrix<float> expected(5, 37), found(5, 37);
  qlora::embedding_forward<float>(table, ids, expected);
  test::run_kernel(
      qlora::cuda::EmbeddingForward<TestType>{table.view(), ids.data(), found.data(), 5},
      test::readable(ids), test::writable(found));
  REQUIRE(test::same_bits(expected, found));
}
