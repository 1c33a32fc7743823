#include "qlora/tournament/elo.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/threads.hpp"

using qlora::elo;
using qlora::EloOptions;
using qlora::Match;

TEST_CASE("one match moves both by k times what was not expected") {
  const std::vector<Match> one{{0, 1, 1.0}};
  const auto ratings = elo(one, 3, {.orders = 3});
  REQUIRE(ratings[0].mean == 1016);
  REQUIRE(ratings[1].mean == 984);
  REQUIRE(ratings[2].mean == 1000);  // never plays
  REQUIRE(ratings[0].spread == 0);
  const auto other = elo(one, 2, {.start = 1500, .k = 10, .orders = 1});
  REQUIRE(other[0].mean == 1505);
}

TEST_CASE("the mean over orders is that of all orders, played one by one") {
  // Three matches have six orders; many random ones come close to their mean.
  const std::vector<Match> matches{{0, 1, 1.0}, {1, 2, 0.5}, {2, 0, 0.0}};
  std::vector<int> order{0, 1, 2};
  double mean[3] = {}, square[3] = {};
  do {
    double rating[3] = {1000, 1000, 1000};
    for (const int m : order) {
      const Match& match = matches[static_cast<std::size_t>(m)];
      const double expected =
          1 / (1 + std::pow(10.0, (rating[match.second] - rating[match.first]) / 400));
      rating[match.first] += 32 * (match.result - expected);
      rating[match.second] -= 32 * (match.result - expected);
    }
    for (int s = 0; s < 3; ++s) {
      mean[s] += rating[s] / 6;
      square[s] += rating[s] * rating[s] / 6;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  const auto ratings = elo(matches, 3, {.orders = 20000});
  for (int s = 0; s < 3; ++s) {
    const double spread = std::sqrt(square[s] - mean[s] * mean[s]);
    REQUIRE(ratings[static_cast<std::size_t>(s)].mean ==
            Approx(mean[s]).margin(5 * spread / std::sqrt(20000.0)));
    REQUIRE(ratings[static_cast<std::size_t>(s)].spread == Approx(spread).epsilon(0.05));
  }
}

TEST_CASE("points are neither made nor lost, and seeds and threads decide nothing but the orders") {
  test::law("sum", [](const std::vector<std::tuple<std::uint8_t, std::uint8_t, std::uint8_t>>& all,
                      std::uint32_t seed) {
    std::vector<Match> matches;
    for (const auto& [a, b, result] : all)
      if (a % 6 != b % 6) matches.push_back({a % 6, b % 6, result % 5 / 4.0});
    const EloOptions options{.orders = 11, .seed = seed};
    const auto [one, four] =
        test::with_one_and_four_threads([&] { return elo(matches, 6, options); });
    double sum = 0;
    for (std::size_t s = 0; s < 6; ++s) {
      sum += one[s].mean;
      RC_ASSERT(one[s].mean == four[s].mean);
      RC_ASSERT(one[s].spread == four[s].spread);
    }
    RC_ASSERT(std::abs(sum - 6000) < 1e-6);
  });
}

TEST_CASE("progress comes, and false stops") {
  const std::vector<Match> one{{0, 1, 1.0}};
  std::vector<qlora::Index> seen;
  elo(one, 2, {.orders = 300, .progress = [&](const qlora::Progress& now) {
                 seen.push_back(now.done);
                 return now.total == 300;
               }});
  REQUIRE(seen.size() == 3);
  REQUIRE(seen.back() == 300);
  const EloOptions stopped{.orders = 300, .progress = [](const qlora::Progress&) { return false; }};
  REQUIRE_THROWS_AS(elo(one, 2, stopped), qlora::Cancelled);
}

TEST_CASE("no matches leave the start, and matches of nobody are an error") {
  REQUIRE(elo({}, 2)[1].mean == 1000);
  REQUIRE(elo({}, 0).empty());
  const std::vector<Match> outside{{0, 2, 1.0}}, alone{{1, 1, 1.0}}, fine{{0, 1, 1.0}};
  REQUIRE_THROWS_AS(elo(outside, 2), qlora::ShapeError);
  REQUIRE_THROWS_AS(elo(alone, 2), qlora::ShapeError);
  REQUIRE_THROWS_AS(elo(fine, 2, {.orders = 0}), qlora::FormatError);
}
