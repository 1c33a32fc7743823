#include "qlora/quant/two_level_scale.hpp"

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/law.hpp"

using qlora::Index, qlora::TwoLevelScale;

TEST_CASE("the largest block has the type's largest scale, and all come back within its rounding") {
  test::law("two levels", [](const std::vector<std::uint16_t>& some, std::uint8_t value_steps) {
    RC_PRE(!some.empty());
    const float value = 1 + static_cast<float>(value_steps) / 8;
    std::vector<float> references;
    for (const auto each : some) references.push_back(static_cast<float>(each) / 64);
    const float absmax = *std::max_element(references.begin(), references.end());
    RC_PRE(absmax > 0);
    const auto storage = TwoLevelScale<>::store(references, value);
    const auto view = storage.view();
    RC_ASSERT(storage.tensor == absmax / (value * 448));
    for (std::size_t block = 0; block < references.size(); ++block) {
      const auto scale = view(static_cast<Index>(block));
      if (references[block] == absmax) RC_ASSERT(scale.block == 448);
      // E4M3 has 3 bits of fraction, and steps of 2^-9 below 2^-6.
      const float exact = references[block] / value, found = scale.block * scale.tensor;
      RC_ASSERT(std::abs(found - exact) <= exact / 16 * 1.001f + storage.tensor * 0x1p-10f);
    }
  });
}

TEST_CASE("zeros stay zeros, and a factor that is not finite is refused") {
  const auto zeros = TwoLevelScale<>::store(std::vector<float>(3, 0.f), 6.f);
  REQUIRE(zeros.tensor == 0);
  for (Index block = 0; block < 3; ++block) REQUIRE(scaled(6.f, zeros.view()(block)) == 0);
  REQUIRE(zeros.bytes() == 3 + 4);
  REQUIRE(TwoLevelScale<>::store({}, 6.f).size() == 0);
  REQUIRE_THROWS_AS(TwoLevelScale<>::store(std::vector<float>{3e38f}, 1e-5f), qlora::NumericError);
}
