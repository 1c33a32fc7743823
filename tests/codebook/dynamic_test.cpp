#include "qlora/codebook/dynamic.hpp"

#include <algorithm>
#include <cmath>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/numbers.hpp"

TEST_CASE("the signed map is bitsandbytes' bit for bit") {
  const auto expected = test::floats_of_bits(test::golden("quantization.json")["dynamic_map"]);
  REQUIRE(expected.size() == 256);
  REQUIRE(test::same_bits(expected.data(), qlora::Dynamic8::values.data(), 256));
}

TEST_CASE("the unsigned map has the measured ends and 256 distinct values") {
  const auto& values = qlora::UnsignedDynamic8::values;
  REQUIRE(values[0] == 0.f);
  REQUIRE(std::abs(values[1] - 3.25e-7f) < 1e-13f);
  REQUIRE(std::abs(values[254] - 0.9964844f) < 1e-7f);
  REQUIRE(values[255] == 1.f);
  REQUIRE(std::adjacent_find(values.begin(), values.end(),
                             [](float a, float b) { return a >= b; }) == values.end());
}
