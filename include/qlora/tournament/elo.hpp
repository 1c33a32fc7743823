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
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/core/progress.hpp"
#include "qlora/core/random.hpp"
#include "qlora/tournament/tournament.hpp"

namespace qlora::inline QLORA_ABI {

/// The formula's constants and the orders that are played.
struct EloOptions {
  double start = 1000;               ///< every system's rating before its first match
  double k = 32;                     ///< the most that a match moves a rating
  double base = 10;                  ///< with `scale`: 400 points ahead are odds of 10 to 1
  double scale = 400;                ///< in points
  Index orders = 10000;              ///< random orders of the matches
  std::uint64_t seed = 0;            ///< decides the orders
  ProgressCallback<> progress = {};  ///< called after every 128 orders or so; counts orders
};

/// The rating of one system.
struct EloRating {
  double mean = 0;    ///< over the orders
  double spread = 0;  ///< standard deviation over the orders
};

namespace tournament_detail {

/// Plays several orders at once, one per lane, so that the exponentials are computed together.
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

}  // namespace tournament_detail

/// One rating per system; a system without a match keeps the start. The result is the same for any
/// number of threads, and several threads may call this at once. Throws ShapeError for a match of
/// systems that are not there, FormatError for fewer than one order, Cancelled.
inline std::vector<EloRating> elo(std::span<const Match> matches, std::size_t systems,
                                  const EloOptions& options = {}) {
  constexpr Index lanes = tournament_detail::EloLanes::lanes;
  require<FormatError>(options.orders > 0, "Elo: expected at least one order, found ",
                       options.orders);
  require<ShapeError>(systems <= std::numeric_limits<std::uint16_t>::max(),
                      "Elo: expected at most 65535 systems, found ", systems);
  tournament_detail::require_matches("Elo", matches, systems);
  const auto orders = static_cast<std::size_t>(options.orders);
  std::vector<double> ends(systems * orders);  // [systems, orders]
  constexpr Index groups_per_call = 16;
  const Index groups = (options.orders + lanes - 1) / lanes;
  for (Index done = 0; done < groups; done += groups_per_call) {
    parallel_ranges(std::min(groups_per_call, groups - done), grain_for(groups_per_call, 1),
                    [&](Index begin, Index end) {
                      tournament_detail::EloLanes play(matches, systems, options);
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
        !options.progress(
            {std::min((done + groups_per_call) * lanes, options.orders), options.orders}))
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

}  // namespace qlora::inline QLORA_ABI
