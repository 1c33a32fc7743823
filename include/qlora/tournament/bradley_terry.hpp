/// Ratings by the model of Bradley and Terry ("Rank analysis of incomplete block designs", 1952)
/// at its maximum likelihood, with bootstrap intervals: unlike Elo's they depend on no order.
///
///     auto result = qlora::bradley_terry(matches, systems);
///     result.rating[0]; result.low[0]; result.high[0];
///
/// P(i beats j) = 1 / (1 + 10^((r_j - r_i) / 400)); a tie is half a win of each. The mean of all
/// ratings is 1000, so they stand on Elo's scale.
#pragma once

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/core/random.hpp"
#include "qlora/tournament/percentile.hpp"
#include "qlora/tournament/tournament.hpp"

namespace qlora::inline QLORA_ABI {

/// How the intervals are computed.
struct BradleyTerryOptions {
  Index resamples = 1000;  ///< how often the matches are resampled; 0: no intervals, all NaN
  double level = 0.95;     ///< the share of the resamples that an interval holds, from 0 to 1
  std::uint64_t seed = 0;  ///< decides the resamples
};

/// One entry per system in each vector.
struct BradleyTerry {
  std::vector<double> rating;     ///< NaN for a system that plays no match
  std::vector<double> low, high;  ///< the interval of each rating
  Index resamples =
      0;  ///< the resamples that have a maximum; in the others a system only won or lost
};

namespace tournament_detail {

/// Whether every player is reached from every other one along wins and ties. Only then does the
/// likelihood have a maximum (Ford, "Solution of a ranking problem from binary
/// comparisons", 1957).
inline bool connected(const Eigen::MatrixXd& wins, const std::vector<Index>& players) {
  for (const bool forwards : {true, false}) {
    std::vector<char> seen(static_cast<std::size_t>(wins.rows()), 0);
    std::vector<Index> open{players.front()};
    seen[static_cast<std::size_t>(players.front())] = 1;
    std::size_t count = 0;
    while (!open.empty()) {
      const Index i = open.back();
      open.pop_back();
      ++count;
      for (const Index j : players) {
        auto& visited = seen[static_cast<std::size_t>(j)];
        if (visited || (forwards ? wins(i, j) : wins(j, i)) <= 0) continue;
        visited = 1;
        open.push_back(j);
      }
    }
    if (count < players.size()) return false;
  }
  return true;
}

/// Maximizes the log-likelihood, which is concave, by Newton's method. Returns nullopt where it has
/// no maximum. wins: [systems, systems]; wins(i, j) is what i got in its matches against j.
inline std::optional<Eigen::VectorXd> bradley_terry_strengths(const Eigen::MatrixXd& wins) {
  const Index n = wins.rows();
  std::vector<Index> players;
  for (Index i = 0; i < n; ++i)
    if (wins.row(i).sum() + wins.col(i).sum() > 0) players.push_back(i);
  if (players.size() < 2 || !connected(wins, players)) return std::nullopt;
  const auto m = static_cast<Index>(players.size());
  const Eigen::MatrixXd w = wins(players, players);
  const Eigen::MatrixXd games = w + w.transpose();
  const auto likelihood = [&](const Eigen::VectorXd& s) {
    double sum = 0;
    for (Index j = 0; j < m; ++j)
      for (Index i = 0; i < m; ++i)
        if (w(i, j) > 0) sum -= w(i, j) * std::log1p(std::exp(s[j] - s[i]));
    return sum;
  };
  Eigen::VectorXd strength = Eigen::VectorXd::Zero(m);
  double value = likelihood(strength);
  for (int round = 0; round < 100; ++round) {
    Eigen::VectorXd gradient = w.rowwise().sum();
    Eigen::MatrixXd hessian = Eigen::MatrixXd::Zero(m, m);
    for (Index j = 0; j < m; ++j)
      for (Index i = 0; i < m; ++i) {
        if (i == j) continue;
        const double p = 1 / (1 + std::exp(strength[j] - strength[i]));
        gradient[i] -= games(i, j) * p;
        hessian(i, j) -= games(i, j) * p * (1 - p);
        hessian(i, i) += games(i, j) * p * (1 - p);
      }
    // The sum of all strengths is free: this holds it where it is.
    hessian.array() += hessian.diagonal().mean();
    const Eigen::VectorXd step = hessian.ldlt().solve(gradient);
    double length = 1;
    while (length > 1e-6 && likelihood(strength + length * step) < value) length /= 2;
    strength += length * step;
    value = likelihood(strength);
    if ((length * step).cwiseAbs().maxCoeff() < 1e-10) break;
  }
  Eigen::VectorXd all = Eigen::VectorXd::Constant(n, std::numeric_limits<double>::quiet_NaN());
  for (Index i = 0; i < m; ++i) all[players[static_cast<std::size_t>(i)]] = strength[i];
  return all;
}

}  // namespace tournament_detail

/// Rates `systems` systems by their matches. The result is the same for any number of threads, and
/// several threads may call this at once. Throws NumericError where the likelihood has no maximum,
/// because some systems have only won or only lost against all others; ShapeError for a match of
/// systems that are not there.
inline BradleyTerry bradley_terry(std::span<const Match> matches, std::size_t systems,
                                  const BradleyTerryOptions& options = {}) {
  tournament_detail::require_matches("Bradley-Terry", matches, systems);
  const auto n = static_cast<Index>(systems);
  const auto rate = [&](const Eigen::MatrixXd& wins) -> std::optional<Eigen::VectorXd> {
    auto strength = tournament_detail::bradley_terry_strengths(wins);
    if (!strength) return strength;
    double sum = 0;
    Index count = 0;
    for (const double s : *strength)
      if (!std::isnan(s)) sum += s, ++count;
    const double mean = sum / static_cast<double>(count);
    *strength = (strength->array() - mean) * (400 / std::numbers::ln10) + 1000;
    return strength;
  };
  const auto add = [](Eigen::MatrixXd& wins, const Match& match) {
    wins(match.first, match.second) += match.result;
    wins(match.second, match.first) += 1 - match.result;
  };
  Eigen::MatrixXd wins = Eigen::MatrixXd::Zero(n, n);
  for (const Match& match : matches) add(wins, match);
  const auto best = rate(wins);
  if (!best)
    throw NumericError(
        "Bradley-Terry: the likelihood has no maximum: expected that every system is linked to "
        "every other by wins or ties and by losses or ties");

  std::vector<std::optional<Eigen::VectorXd>> samples(static_cast<std::size_t>(options.resamples));
  parallel_for(options.resamples, [&](Index r) {
    const std::uint64_t key = derive_key(options.seed, static_cast<std::uint64_t>(r));
    Eigen::MatrixXd resampled = Eigen::MatrixXd::Zero(n, n);
    for (std::size_t i = 0; i < matches.size(); ++i)
      add(resampled, matches[uniform_below(key, i, matches.size())]);
    samples[static_cast<std::size_t>(r)] = rate(resampled);
  });
  BradleyTerry result{{best->begin(), best->end()}, {}, {}, 0};
  for (const auto& sample : samples) result.resamples += sample.has_value() ? 1 : 0;
  for (Index s = 0; s < n; ++s) {
    std::vector<double> values;
    for (const auto& sample : samples)
      if (sample && !std::isnan((*sample)[s])) values.push_back((*sample)[s]);
    const Interval interval = central_interval(std::move(values), options.level);
    result.low.push_back(interval.low);
    result.high.push_back(interval.high);
  }
  return result;
}

}  // namespace qlora::inline QLORA_ABI
