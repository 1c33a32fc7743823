#include "qlora/linalg/dispatch.hpp"

#include "qlora/linalg/gemm.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Compute;

TEST_CASE("automatic is bfloat16 where the processor has instructions for it, else float32") {
#if QLORA_HAS_VECTORS
  REQUIRE(qlora::resolved(Compute::automatic) ==
          (qlora::has_bfloat16_instructions() ? Compute::bfloat16 : Compute::float32));
  REQUIRE(qlora::resolved(Compute::bfloat16) == Compute::bfloat16);
#else
  REQUIRE_FALSE(qlora::has_bfloat16_instructions());
  REQUIRE(qlora::resolved(Compute::automatic) == Compute::float32);
  REQUIRE(qlora::resolved(Compute::bfloat16) == Compute::float32);
#endif
  REQUIRE(qlora::resolved(Compute::float32) == Compute::float32);
}

// 1 + 2^-9 is not a number of bfloat16: rounded it is 1.
TEST_CASE("the arithmetic that was asked for is the one that runs, few tokens or many") {
  const auto weight = qlora::quantize<qlora::formats::nf4>(qlora::RowMatrixXf::Ones(64, 64));
  for (const qlora::Index tokens : {1, 3, 20}) {
    const qlora::RowMatrixXf x = qlora::RowMatrixXf::Constant(tokens, 64, 1 + 0x1p-9f);
    const auto first = [&](Compute compute) {
      qlora::RowMatrixXf y(tokens, 64);
      qlora::forward_product<float>(x, weight.view(), y, {.compute = compute});
      return y(0, 0);
    };
    INFO(tokens << " tokens");
    REQUIRE(first(Compute::float32) == 64.125f);
#if QLORA_HAS_VECTORS
    REQUIRE(first(Compute::bfloat16) == 64);
#else
    REQUIRE(first(Compute::bfloat16) == 64.125f);
#endif
  }
}
