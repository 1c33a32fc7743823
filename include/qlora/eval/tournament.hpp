/// Judgements of pairs of systems, and the matches they make.
///
///     qlora::Tournament set = qlora::read_tournament("ratings", notes);
///     auto ratings = qlora::elo(qlora::matches(set), set.systems.size());
///
/// A judge saw the answers of two systems to one question, one shown before the other.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"

namespace qlora {

enum class Verdict : std::int8_t { first, second, tie, unparsed };

/// Numbers of systems and of a question; `first` was shown before `second`.
struct Judgement {
  Index first = 0, second = 0, question = 0;
  Verdict verdict = Verdict::unparsed;

  bool parsed() const { return verdict != Verdict::unparsed; }
  /// What the first gets: 1, 0, or 1/2 for a tie. Only where it was parsed.
  double result() const {
    return verdict == Verdict::first ? 1 : verdict == Verdict::second ? 0 : 0.5;
  }
};

struct Tournament {
  std::vector<std::string> systems, questions;
  std::vector<Judgement> judgements;
};

/// `result`: what the first of the two gets, from 0 to 1; the other one gets the rest.
struct Match {
  Index first = 0, second = 0;
  double result = 0;
};

/// Every parsed judgement is a match.
inline std::vector<Match> matches(const Tournament& tournament) {
  std::vector<Match> all;
  for (const Judgement& each : tournament.judgements)
    if (each.parsed()) all.push_back({each.first, each.second, each.result()});
  return all;
}

/// The two verdicts on one question and pair, shown in both orders.
struct BothOrders {
  Index a = 0, b = 0, question = 0;                                  ///< a < b
  Verdict a_first = Verdict::unparsed, b_first = Verdict::unparsed;  ///< as the judge said it

  bool parsed() const { return a_first != Verdict::unparsed && b_first != Verdict::unparsed; }
};

/// What was judged in both orders. Where an order comes more than once, the first goes with the
/// first, the second with the second, and so on.
inline std::vector<BothOrders> both_orders(const Tournament& tournament) {
  std::map<std::array<Index, 3>, std::array<std::vector<Verdict>, 2>> found;
  for (const Judgement& each : tournament.judgements) {
    const auto [a, b] = std::minmax(each.first, each.second);
    found[{a, b, each.question}][each.first < each.second ? 0 : 1].push_back(each.verdict);
  }
  std::vector<BothOrders> all;
  for (const auto& [key, verdicts] : found)
    for (std::size_t i = 0; i < std::min(verdicts[0].size(), verdicts[1].size()); ++i)
      all.push_back({key[0], key[1], key[2], verdicts[0][i], verdicts[1][i]});
  return all;
}

/// Both orders of a question and pair as one match whose result is their mean, which cancels what
/// the order does; where both were parsed.
inline std::vector<Match> combined_matches(const Tournament& tournament) {
  std::vector<Match> all;
  for (const BothOrders& pair : both_orders(tournament)) {
    if (!pair.parsed()) continue;
    const double forth = Judgement{pair.a, pair.b, pair.question, pair.a_first}.result();
    const double back = Judgement{pair.b, pair.a, pair.question, pair.b_first}.result();
    all.push_back({pair.a, pair.b, (forth + 1 - back) / 2});
  }
  return all;
}

/// The judgements of some questions only: those for which keep(question) holds.
template <class Keep>
Tournament of_questions(const Tournament& tournament, Keep keep) {
  Tournament part{tournament.systems, tournament.questions, {}};
  for (const Judgement& each : tournament.judgements)
    if (keep(each.question)) part.judgements.push_back(each);
  return part;
}

/// How many of the matches a system plays in.
inline std::vector<Index> matches_played(const std::vector<Match>& matches, std::size_t systems) {
  std::vector<Index> count(systems, 0);
  for (const Match& match : matches) {
    ++count[static_cast<std::size_t>(match.first)];
    ++count[static_cast<std::size_t>(match.second)];
  }
  return count;
}

}  // namespace qlora
