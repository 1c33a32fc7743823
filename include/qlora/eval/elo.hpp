/// Elo ratings over many random orders of the matches.
///
///     auto ratings = qlora::elo(matches, systems, {.orders = 10000});
///     ratings[0].mean; ratings[0].spread;
///
/// A match moves both ratings by k (result - expected), where expected = 1 / (1 + base^((other -
/// own) / scale)). The end depends on the order, so there are many, each from its own seed (Elo,
/// "The Rating of Chessplayers", 1978; as the QLoRA paper uses it, Dettmers et al. 2023, 5.2).
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "qlora/core/error.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/core/random.hpp"
#include "qlora/eval/tournament.hpp"

namespace qlora {

struct EloOptions {
  double start = 1000, k = 32, base = 10, scale = 400;
  Index orders = 10000;
  std::uint64_t seed = 0;
  /// Called now and then with the orders that are done; false stops with Cancelled.
  std::function<bool(Index done)> progress = {};
};

struct EloRating {
  double mean = 0;
  double spread = 0;  ///< standard deviation over the orders
};

namespace detail {

/// Several orders at once, one a lane, so that the exponentials are computed together.
class EloLanes {
 public:
  static constexpr Index lanes = 8;
  using Lane = Eigen::Array<double, lanes, 1>;

  EloLanes(std::span<const Match> matches, std::size_t systems, const EloOptions& options)
      : options_(options), ratings_(systems * lanes), order_(lanes) {
    short_.reserve(matches.size());
    for (const Match& match : matches)
      short_.push_back({static_cast<std::uint16_t>(match.first),
                        static_cast<std::uint16_t>(match.second),
                        static_cast<float>(match.result)});
  }

  /// Plays the orders first, first + 1, ...; rating(system)[lane] is the end.
  void play(Index first) {
    std::fill(ratings_.begin(), ratings_.end(), options_.start);
    for (Index lane = 0; lane < lanes; ++lane) shuffle(lane, first + lane);
    const double slope = std::log(options_.base) / options_.scale;
    for (std::size_t m = 0; m < short_.size(); ++m) {
      std::size_t a[lanes], b[lanes];
      Lane result, difference;
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        const Short& match = order_[lane][m];
        a[lane] = match.first * lanes + lane;
        b[lane] = match.second * lanes + lane;
        result[static_cast<Index>(lane)] = match.result;
        difference[static_cast<Index>(lane)] = ratings_[b[lane]] - ratings_[a[lane]];
      }
      const Lane change = options_.k * (result - 1 / (1 + (slope * difference).exp()));
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        ratings_[a[lane]] += change[static_cast<Index>(lane)];
        ratings_[b[lane]] -= change[static_cast<Index>(lane)];
      }
    }
  }
  double rating(std::size_t system, Index lane) const {
    return ratings_[system * lanes + static_cast<std::size_t>(lane)];
  }

 private:
  // Half a match's size: what is shuffled stays in the cache.
  struct Short {
    std::uint16_t first, second;
    float result;
  };

  /// Fisher and Yates; the bound's bias of at most matches / 2^32 does not matter here.
  void shuffle(Index lane, Index order) {
    const std::uint64_t key = derive_key(options_.seed, static_cast<std::uint64_t>(order));
    std::vector<Short>& shuffled = order_[static_cast<std::size_t>(lane)];
    shuffled = short_;
    PhiloxBlock block{};
    for (std::size_t i = shuffled.size(), drawn = 0; i-- > 1; ++drawn) {
      if (drawn % 4 == 0) block = philox(key, drawn / 4);
      const auto j = (std::uint64_t{block.word[drawn % 4]} * (i + 1)) >> 32;
      std::swap(shuffled[i], shuffled[j]);
    }
  }

  const EloOptions& options_;
  std::vector<Short> short_;
  std::vector<double> ratings_;  // [systems, lanes]
  std::vector<std::vector<Short>> order_;
};

}  // namespace detail

/// One rating a system; one that plays no match keeps the start. The same for any number of
/// threads. Throws ShapeError for a match of systems that are not there, FormatError for fewer than
/// one order.
inline std::vector<EloRating> elo(std::span<const Match> matches, std::size_t systems,
                                  const EloOptions& options = {}) {
  constexpr Index lanes = detail::EloLanes::lanes;
  require<FormatError>(options.orders > 0, "Elo: expected at least one order, found ",
                       options.orders);
  require<ShapeError>(systems <= std::numeric_limits<std::uint16_t>::max(),
                      "Elo: expected at most 65535 systems, found ", systems);
  for (const Match& match : matches)
    require<ShapeError>(match.first >= 0 && match.second >= 0 && match.first != match.second &&
                            std::max(match.first, match.second) < static_cast<Index>(systems),
                        "Elo: expected a match of two of ", systems, " systems, found ",
                        match.first, " and ", match.second);
  const auto orders = static_cast<std::size_t>(options.orders);
  std::vector<double> ends(systems * orders);  // [systems, orders]
  constexpr Index groups_a_call = 16;
  const Index groups = (options.orders + lanes - 1) / lanes;
  for (Index done = 0; done < groups; done += groups_a_call) {
    parallel_ranges(std::min(groups_a_call, groups - done), grain_for(groups_a_call, 1),
                    [&](Index begin, Index end) {
                      detail::EloLanes play(matches, systems, options);
                      for (Index group = done + begin; group < done + end; ++group) {
                        play.play(group * lanes);
                        for (std::size_t s = 0; s < systems; ++s)
                          for (Index l = 0; l < lanes; ++l)
                            if (group * lanes + l < options.orders)
                              ends[s * orders + static_cast<std::size_t>(group * lanes + l)] =
                                  play.rating(s, l);
                      }
                    });
    if (options.progress &&
        !options.progress(std::min((done + groups_a_call) * lanes, options.orders)))
      throw Cancelled("Elo: stopped");
  }
  std::vector<EloRating> ratings(systems);
  for (std::size_t s = 0; s < systems; ++s) {
    // In order: Eigen's sums begin where memory is aligned, so their last bits vary.
    const std::span<const double> all(ends.data() + s * orders, orders);
    double sum = 0, squares = 0;
    for (const double end : all) sum += end;
    ratings[s].mean = sum / static_cast<double>(orders);
    for (const double end : all) squares += (end - ratings[s].mean) * (end - ratings[s].mean);
    if (orders > 1) ratings[s].spread = std::sqrt(squares / static_cast<double>(orders - 1));
  }
  return ratings;
}

}  // namespace qlora
