#include "qlora/linalg/rounded_weights.hpp"

#include <vector>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/formats.hpp"
#include "support/numbers.hpp"

using qlora::Index;

#if QLORA_HAS_VECTORS
// Whole steps of 32 are looked up where the processor can, the rest is decoded and rounded.
TEST_CASE("weights in bfloat16 are the decoded ones, rounded once, from any column on") {
  test::for_each_format([]<class F>(const std::string& name) {
    INFO(name);
    const auto w = qlora::quantize<F>(test::normal_matrix(5, 320, 1));
    const auto view = w.view();
    const qlora::RowMatrixXf dense = qlora::dequantize(w);
    const auto compare = [&](const qlora::linalg_detail::WeightRef& ref, Index col, Index cols) {
      std::vector<qlora::bfloat16> row(static_cast<std::size_t>(cols));
      qlora::linalg_detail::decode_rounded(ref, 3, col, cols, row.data());
      for (Index i = 0; i < cols; ++i)
        REQUIRE(row[static_cast<std::size_t>(i)].bits == qlora::bfloat16(dense(3, col + i)).bits);
    };
    for (const auto& [col, cols] : std::vector<std::pair<Index, Index>>{
             {0, 320}, {64, 192}, {32, 32}, {1, 64}, {0, 33}, {319, 1}}) {
      INFO(cols << " columns from " << col);
      compare(qlora::linalg_detail::WeightRef(view), col, cols);
      compare(qlora::linalg_detail::WeightRef(dense), col, cols);
    }
  });
}
#endif
