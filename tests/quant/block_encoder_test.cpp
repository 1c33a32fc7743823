#include "qlora/quant/block_encoder.hpp"

#include <cmath>
#include <vector>

#include "qlora/codebook/dynamic.hpp"
#include "qlora/quant/scale.hpp"
#include "support/catch.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::BlockDivisor, qlora::Index, qlora::Range;

TEST_CASE("a full block is multiplied by the reciprocal of its scale, a short one divided") {
  // 0.1 / 0.3 and 0.1 * (1 / 0.3) differ in the last bit.
  const float reference = 0.3f, weight = 0.1f;
  const auto full = BlockDivisor<float>::of(reference, 1.f, true);
  const auto divided = BlockDivisor<float>::of(reference, 1.f, false);
  REQUIRE(full.in_units(weight, true) == weight * (1.f / reference));
  REQUIRE(divided.in_units(weight, false) == weight / reference);
  REQUIRE(full.in_units(weight, true) != divided.in_units(weight, false));
  REQUIRE(full.stored == reference);
  REQUIRE(divided.stored == reference);
}

TEST_CASE("the reference maps to its code value, with its sign") {
  test::law("reference", [](float reference, std::uint8_t steps) {
    const float value = static_cast<float>(steps % 127 + 1) * (steps % 2 == 0 ? 1.f : -1.f);
    RC_PRE(std::abs(reference) > 1e-30f && std::abs(reference) < 1e30f);
    for (const bool full : {true, false}) {
      const auto divisor = BlockDivisor<float>::of(reference, value, full);
      RC_ASSERT(std::abs(divisor.in_units(reference, full) / value - 1) < 1e-6f);
      RC_ASSERT(divisor.stored == reference);
    }
  });
}

TEST_CASE("scales below 1e-38 are 1e-38, which only a short block stores") {
  for (const float tiny : {1e-42f, -1e-42f}) {
    const float least = tiny < 0 ? -1e-38f : 1e-38f;
    const auto full = BlockDivisor<float>::of(tiny, 1.f, true);
    REQUIRE(full.factor == 1.f / least);
    REQUIRE(full.stored == tiny);
    const auto divided = BlockDivisor<float>::of(tiny, 1.f, false);
    REQUIRE(divided.factor == least);
    REQUIRE(divided.stored == least);
  }
  const auto zeros = BlockDivisor<float>::of(0.f, 1.f, true);
  REQUIRE(zeros.in_units(0.f, true) == 0);
  REQUIRE(zeros.stored == 0);
  REQUIRE(std::isnan(BlockDivisor<float>::of(std::nanf(""), 1.f, true).stored));
}

TEST_CASE("a block with a minimum is counted in steps from there; equal weights are all 0") {
  const auto divisor = BlockDivisor<Range>::of({-1.f, 2.f}, 15.f, true);
  REQUIRE(divisor.in_units(-1.f, true) == 0);
  REQUIRE(std::abs(divisor.in_units(2.f, true) - 15) < 1e-5f);
  REQUIRE(divisor.stored.minimum == -1);
  REQUIRE(divisor.stored.maximum == 2);
  const auto equal = BlockDivisor<Range>::of({3.f, 3.f}, 15.f, true);
  REQUIRE(equal.in_units(3.f, true) == 0);
}

TEST_CASE("numbers beyond what absmax maps to get its code, also where further codes exist") {
  using qlora::GgmlInt8;  // -128 is a code, but absmax maps to 127
  STATIC_REQUIRE(qlora::has_codes_beyond<GgmlInt8>);
  STATIC_REQUIRE(!qlora::has_codes_beyond<qlora::NF4>);
  REQUIRE(qlora::encode_clamped<GgmlInt8>(-1000.f) == qlora::encode<GgmlInt8>(-127.f));
  REQUIRE(qlora::encode_clamped<GgmlInt8>(1000.f) == qlora::encode<GgmlInt8>(127.f));
  test::law("within", [](float x) {
    const float inside = std::fmod(x, 127.f);
    RC_PRE(qlora::is_finite(inside));
    RC_ASSERT(qlora::encode_clamped<GgmlInt8>(inside) == qlora::encode<GgmlInt8>(inside));
    RC_ASSERT(qlora::encode_clamped<qlora::NF4>(x) == qlora::encode<qlora::NF4>(x));
  });
}

TEST_CASE("scales are added up one after the other in double") {
  // Any other order leaves a 1, because 2^60 + 1 is 2^60 in double.
  const std::vector<float> scales{0x1p60f, 1.f, -0x1p60f}, turned{0x1p60f, -0x1p60f, 1.f};
  REQUIRE(qlora::mean_of_scales(scales.data(), 3) == 0);
  REQUIRE(qlora::mean_of_scales(turned.data(), 3) == static_cast<float>(1 / 3.0));
  REQUIRE(qlora::mean_of_scales(nullptr, 0) == 0);
}

TEST_CASE("nested scales have the codes of DoubleQuant, one by one") {
  using Map = qlora::Dynamic8;
  test::law("nested", [](std::uint64_t seed, std::uint16_t size) {
    const Index count = size % 700 + 1;
    const qlora::RowMatrixXf x = test::normal_matrix(1, count, seed).cwiseAbs();
    std::vector<float> scales(x.data(), x.data() + count);
    const auto storage = qlora::DoubleQuant<>::store(scales, 0.7f);
    for (float& scale : scales) scale /= 0.7f;
    RC_ASSERT(storage.offset == qlora::mean_of_scales(scales.data(), count));
    for (Index begin = 0; begin < count; begin += 256) {
      qlora::NestedBlock<Map> block{storage.offset};
      const Index end = std::min<Index>(count, begin + 256);
      for (Index i = begin; i < end; ++i)
        block.largest =
            std::max(block.largest, std::abs(block.less_mean(scales[static_cast<std::size_t>(i)])));
      for (Index i = begin; i < end; ++i)
        RC_ASSERT(block.encode(scales[static_cast<std::size_t>(i)]) ==
                  storage.codes[static_cast<std::size_t>(i)]);
    }
  });
}
