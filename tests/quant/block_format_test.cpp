#include "qlora/quant/block_format.hpp"

#include "support/catch.hpp"
#include "support/formats.hpp"

static_assert(qlora::Format<qlora::formats::nf4> && !qlora::Format<int>);
static_assert(qlora::formats::nf4::bits_per_weight == 4.5);
static_assert(qlora::formats::nf4_dq::bits_per_weight == 4 + 8.0 / 64 + 32.0 / (64 * 256));
static_assert(test::Tern32::bits_per_weight == 2.5 && test::Tern32::code_bits == 2);
static_assert(test::Nf4Dq2::bits_per_weight < qlora::formats::nf4_dq::bits_per_weight);
static_assert(test::Int4Dynamic::bits_per_weight == 4.0);

TEST_CASE("a block is divided by its largest magnitude") {
  const float x[4] = {0.5f, -2.f, 1.f, -0.f};
  REQUIRE(qlora::AbsoluteMaximum::reference(x, 4) == 2.f);
  REQUIRE(qlora::AbsoluteMaximum::reference(x, 0) == 0.f);
}
