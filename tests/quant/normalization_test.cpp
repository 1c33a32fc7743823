#include "qlora/quant/normalization.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/law.hpp"

using qlora::Index;

static_assert(qlora::Normalization<qlora::AbsoluteMaximum> &&
              qlora::Normalization<qlora::SignedAbsoluteMaximum> &&
              qlora::Normalization<qlora::MinimumMaximum> && !qlora::Normalization<int>);

TEST_CASE("the reference is a block's largest magnitude, that weight with its sign, or its range") {
  test::law("references", [](const std::vector<std::int16_t>& some) {
    RC_PRE(!some.empty());
    std::vector<float> x;
    for (const auto each : some) x.push_back(static_cast<float>(each) / 128);
    const auto count = static_cast<Index>(x.size());
    const auto by_size = [](float a, float b) { return std::abs(a) < std::abs(b); };
    // max_element gives the first of equals.
    const float extreme = *std::max_element(x.begin(), x.end(), by_size);
    RC_ASSERT(qlora::AbsoluteMaximum::reference(x.data(), count) == std::abs(extreme));
    RC_ASSERT(qlora::SignedAbsoluteMaximum::reference(x.data(), count) == extreme);
    const auto range = qlora::MinimumMaximum::reference(x.data(), count);
    RC_ASSERT(range.minimum == *std::min_element(x.begin(), x.end()));
    RC_ASSERT(range.maximum == *std::max_element(x.begin(), x.end()));
  });
}

TEST_CASE("of equal magnitudes the first gives the sign") {
  const std::vector<float> x{0.5f, -2.f, 2.f};
  REQUIRE(qlora::SignedAbsoluteMaximum::reference(x.data(), 3) == -2);
  REQUIRE(qlora::SignedAbsoluteMaximum::reference(x.data() + 2, 1) == 2);
}
