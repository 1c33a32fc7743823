#include "qlora/tournament/bradley_terry.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/law.hpp"

using qlora::bradley_terry;
using qlora::Match;

TEST_CASE("two systems stand as far apart as their odds") {
  const std::vector<Match> matches{{0, 1, 1}, {0, 1, 1}, {1, 0, 0}, {0, 1, 0}};  // three to one
  const auto result = bradley_terry(matches, 2);
  REQUIRE(result.rating[0] - result.rating[1] == Approx(400 * std::log10(3.0)));
  REQUIRE(result.rating[0] + result.rating[1] == Approx(2000));
}

TEST_CASE("every system has won what its rating says, and a tie is half a win of each") {
  test::law("stationary", [](std::uint32_t seed) {
    std::vector<Match> matches;
    for (qlora::Index a = 0; a < 5; ++a)
      for (qlora::Index b = 0; b < a; ++b)
        for (std::uint64_t game = 0; game < 4; ++game)
          matches.push_back(
              {a, b, static_cast<double>(qlora::uniform_below(seed, matches.size(), 3)) / 2});
    std::vector<double> won(5, 0), expected(5, 0);
    qlora::BradleyTerry result;
    try {
      result = bradley_terry(matches, 5, {.resamples = 0});
    } catch (const qlora::NumericError&) {
      return;  // someone has won or lost everything
    }
    for (const Match& match : matches) {
      const auto a = static_cast<std::size_t>(match.first);
      const auto b = static_cast<std::size_t>(match.second);
      const double p = 1 / (1 + std::pow(10.0, (result.rating[b] - result.rating[a]) / 400));
      won[a] += match.result;
      won[b] += 1 - match.result;
      expected[a] += p;
      expected[b] += 1 - p;
    }
    for (std::size_t s = 0; s < 5; ++s) RC_ASSERT(std::abs(won[s] - expected[s]) < 1e-6);
  });
}

TEST_CASE("intervals hold the rating and become narrow with more matches") {
  const auto width = [](qlora::Index games) {
    std::vector<Match> matches;
    for (qlora::Index i = 0; i < games; ++i) matches.push_back({0, 1, i % 3 == 0 ? 0.0 : 1.0});
    const auto result = bradley_terry(matches, 2, {.resamples = 400});
    REQUIRE(result.low[0] < result.rating[0]);
    REQUIRE(result.rating[0] < result.high[0]);
    REQUIRE(result.resamples == 400);
    return result.high[0] - result.low[0];
  };
  REQUIRE(width(3000) < width(120) / 3);
}

TEST_CASE("who never plays has no rating") {
  const std::vector<Match> matches{{0, 2, 0.5}};
  const auto result = bradley_terry(matches, 3);
  REQUIRE(std::isnan(result.rating[1]));
  REQUIRE(std::isnan(result.low[1]));
  REQUIRE(result.rating[0] == Approx(1000));
}

TEST_CASE("matches of nobody are an error") {
  const std::vector<Match> outside{{0, 2, 0.5}}, alone{{1, 1, 0.5}}, below{{-1, 1, 0.5}};
  for (const auto& matches : {outside, alone, below})
    REQUIRE_THROWS_AS(bradley_terry(matches, 2), qlora::ShapeError);
}

TEST_CASE("no maximum is an error") {
  const std::vector<Match> unbeaten{{0, 1, 1}, {0, 2, 1}, {1, 2, 0.5}};
  REQUIRE_THROWS_AS(bradley_terry(unbeaten, 3), qlora::NumericError);
  const std::vector<Match> apart{{0, 1, 0.5}, {2, 3, 0.5}};
  REQUIRE_THROWS_AS(bradley_terry(apart, 4), qlora::NumericError);
  REQUIRE_THROWS_AS(bradley_terry({}, 2), qlora::NumericError);
}
