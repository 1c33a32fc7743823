#include "qlora/nn/rope_table.hpp"

#include <vector>

#include "support/catch.hpp"

using qlora::Index;

// Within a head, pair i of position p turns by p base^(-2i/d): d = 4, base = 100 gives p and p / 10.
TEST_CASE("angles are the position times base to the power of -2i/d") {
  std::vector<double> cosine(3 * 2), sine(3 * 2);
  const auto frequencies = qlora::rotary_frequencies({.base = 100}, 4);
  qlora::fill_rotations<double>(frequencies, 1.0, 5, 8, cosine.data(), sine.data());
  for (std::size_t row = 0; row < 3; ++row) {
    const double position = 5 + static_cast<double>(row);
    REQUIRE(cosine[2 * row] == Approx(std::cos(position)));
    REQUIRE(sine[2 * row] == Approx(std::sin(position)));
    REQUIRE(cosine[2 * row + 1] == Approx(std::cos(position / 10)));
    REQUIRE(sine[2 * row + 1] == Approx(std::sin(position / 10)));
  }
}

TEST_CASE("a table that is made in parts has the bits of the whole one") {
  constexpr Index half = 8;
  std::vector<float> cosine(20 * half), sine(20 * half), parts(20 * half), rest(20 * half);
  const auto frequencies = qlora::rotary_frequencies({.base = 1e4}, 2 * half);
  qlora::fill_rotations<float>(frequencies, 1.5, 0, 20, cosine.data(), sine.data());
  qlora::fill_rotations<float>(frequencies, 1.5, 0, 7, parts.data(), rest.data());
  qlora::fill_rotations<float>(frequencies, 1.5, 7, 20, parts.data() + 7 * half,
                               rest.data() + 7 * half);
  REQUIRE(cosine == parts);
  REQUIRE(sine == rest);
}
