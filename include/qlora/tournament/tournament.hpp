/// Judgements of pairs of systems, and the matches they make.
///
///     qlora::Tournament set = qlora::read_tournament("ratings", notes);
///     auto ratings = qlora::elo(qlora::matches(set), set.systems.size());
///
/// A judge saw the answers of two systems to one question, one shown before the other. All
/// functions are pure: several threads may call them at once.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// Which of the two answers the judge preferred; `unparsed` where its words gave no verdict.
enum class Verdict : std::int8_t { first, second, tie, unparsed };

/// One verdict. Systems and questions are numbers of Tournament's lists; the answer of `first` was
/// shown before that of `second`.
struct Judgement {
  Index first = 0, second = 0, question = 0;
  Verdict verdict = Verdict::unparsed;

  /// Whether the verdict could be read.
  bool parsed() const { return verdict != Verdict::unparsed; }
  /// What the first system gets: 1, 0, or 1/2 for a tie. Call it only where parsed() holds.
  double result() const {
    return verdict == Verdict::first ? 1 : verdict == Verdict::second ? 0 : 0.5;
  }
};

/// The names of systems and questions, and all verdicts.
struct Tournament {
  std::vector<std::string> systems, questions;
  std::vector<Judgement> judgements;
};

/// One match of two systems.
struct Match {
  Index first = 0, second = 0;
  double result = 0;  ///< what `first` gets, from 0 to 1; `second` gets the rest
};

namespace tournament_detail {

/// Throws ShapeError for a match that is not one of two systems below `systems`.
inline void require_matches(const char* what, std::span<const Match> matches, std::size_t systems) {
  for (const Match& match : matches)
    require<ShapeError>(match.first >= 0 && match.second >= 0 && match.first != match.second &&
                            std::max(match.first, match.second) < static_cast<Index>(systems),
                        what, ": expected a match of two of ", systems, " systems, found ",
                        match.first, " and ", match.second);
}

}  // namespace tournament_detail

/// One match per parsed judgement.
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

  /// Whether both verdicts could be read.
  bool parsed() const { return a_first != Verdict::unparsed && b_first != Verdict::unparsed; }
};

/// Pairs up what was judged in both orders. Where a question and pair come several times, the n-th
/// judgement in one order goes with the n-th in the other.
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

/// One match per question and pair that were judged in both orders, with the mean of the two
/// results: this cancels what the order does. A pair of which one judgement was not parsed is left
/// out.
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

/// The judgements of those questions for which keep(question) holds, with all names.
template <class Keep>
Tournament of_questions(const Tournament& tournament, Keep keep) {
  Tournament part{tournament.systems, tournament.questions, {}};
  for (const Judgement& each : tournament.judgements)
    if (keep(each.question)) part.judgements.push_back(each);
  return part;
}

/// For each system, how many of the matches it plays in.
inline std::vector<Index> matches_played(const std::vector<Match>& matches, std::size_t systems) {
  std::vector<Index> count(systems, 0);
  for (const Match& match : matches) {
    ++count[static_cast<std::size_t>(match.first)];
    ++count[static_cast<std::size_t>(match.second)];
  }
  return count;
}

}  // namespace qlora::inline QLORA_ABI
