#include "qlora/core/dropout.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/law.hpp"

using qlora::DropoutMask, qlora::Index;

TEST_CASE("a column's random word is that of its block of four") {
  test::law("words", [](std::uint64_t key, std::uint16_t row, std::uint16_t col) {
    const DropoutMask<float> mask(0.3f, key);
    const std::uint64_t stream = mask.stream(row);
    RC_ASSERT(mask.word(stream, col) == mask.words(stream, col / 4).word[col % 4]);
    // The counter-based generator at (row, column), as the documentation has it.
    RC_ASSERT(mask.word(stream, col) == qlora::random_bits(qlora::derive_key(key, row), col));
  });
}

TEST_CASE("an element is dropped below p 2^32, else divided by 1 - p") {
  const DropoutMask<float> mask(0.25f, 1);
  REQUIRE(mask.drops((std::uint32_t{1} << 30) - 1));
  REQUIRE_FALSE(mask.drops(std::uint32_t{1} << 30));
  REQUIRE(mask.apply(6.f, 0) == 0);
  REQUIRE(mask.apply(6.f, ~std::uint32_t{0}) == 6.f * (1 / 0.75f));
  REQUIRE(mask.factor(0) == 0);
  REQUIRE(mask.factor(~std::uint32_t{0}) == 1 / 0.75f);
  REQUIRE(mask.apply(INFINITY, 0) == 0);
  const DropoutMask<double> wide(0.25f, 1);
  REQUIRE(wide.apply(3.0, ~std::uint32_t{0}) == 4.0);
}

TEST_CASE("without a probability nothing is dropped") {
  for (const auto& mask : {DropoutMask<float>(), DropoutMask<float>(0.f, 7)}) {
    REQUIRE_FALSE(mask.acts());
    REQUIRE_FALSE(mask.drops(0));
    REQUIRE(mask.apply(5.f, 0) == 5.f);
  }
  REQUIRE(DropoutMask<float>(0.1f, 7).acts());
}

TEST_CASE("the share that is dropped is p, in every row and every column of four") {
  constexpr Index rows = 100, cols = 200;
  const DropoutMask<float> mask(0.3f, 11);
  int total = 0, of_column[4] = {};
  for (Index row = 0; row < rows; ++row)
    for (Index col = 0; col < cols; ++col) {
      const int dropped = mask.drops(mask.word(mask.stream(row), col)) ? 1 : 0;
      total += dropped;
      of_column[col % 4] += dropped;
    }
  REQUIRE(std::abs(total / 20000.0 - 0.3) < 0.015);  // 4.6 standard deviations
  for (const int each : of_column) REQUIRE(std::abs(each / 5000.0 - 0.3) < 0.03);
}
