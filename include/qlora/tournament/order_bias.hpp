/// What the order in which two answers are shown does to a judge, and how far the judge agrees with
/// itself when the order is turned. All functions are pure: several threads may call them at once.
///
///     qlora::OrderBias bias = qlora::order_bias(tournament);
///     bias.first_wins; bias.systems[0].won_first;
#pragma once

#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/tournament/agreement.hpp"
#include "qlora/tournament/tournament.hpp"

namespace qlora::inline QLORA_ABI {

/// How a system fares when it is shown first and when it is shown second.
struct SystemBias {
  Index shown_first = 0, shown_second = 0;  ///< parsed judgements
  double won_first = 0, won_second = 0;     ///< wins among them; a tie is half a win

  /// Shares of wins; NaN without judgements.
  double rate_first() const { return won_first / static_cast<double>(shown_first); }
  double rate_second() const { return won_second / static_cast<double>(shown_second); }
  double rate() const {
    return (won_first + won_second) / static_cast<double>(shown_first + shown_second);
  }
};

/// How often each place wins, over all systems and for each.
struct OrderBias {
  Index first_wins = 0, second_wins = 0, ties = 0, unparsed = 0;
  std::vector<SystemBias> systems;  ///< in the tournament's order
};

/// Counts wins by the place at which the answers were shown.
inline OrderBias order_bias(const Tournament& tournament) {
  OrderBias bias;
  bias.systems.resize(tournament.systems.size());
  for (const Judgement& each : tournament.judgements) {
    bias.first_wins += each.verdict == Verdict::first ? 1 : 0;
    bias.second_wins += each.verdict == Verdict::second ? 1 : 0;
    bias.ties += each.verdict == Verdict::tie ? 1 : 0;
    bias.unparsed += each.parsed() ? 0 : 1;
    if (!each.parsed()) continue;
    SystemBias& first = bias.systems[static_cast<std::size_t>(each.first)];
    SystemBias& second = bias.systems[static_cast<std::size_t>(each.second)];
    ++first.shown_first;
    first.won_first += each.result();
    ++second.shown_second;
    second.won_second += 1 - each.result();
  }
  return bias;
}

/// How far the verdicts on a question and pair in one order agree with those in the other order.
struct SelfAgreement {
  Index pairs = 0;               ///< judged and parsed in both orders
  Index same = 0;                ///< the same system won, or both were ties
  Index first_both = 0;          ///< the one shown first won both times
  Index second_both = 0;         ///< the one shown second won both times
  double cohen = 0, fleiss = 0;  ///< kappa of the two orders as two judges

  /// NaN without pairs.
  double same_share() const { return static_cast<double>(same) / static_cast<double>(pairs); }
};

/// Compares the two orders of every question and pair that were judged in both.
inline SelfAgreement self_agreement(const Tournament& tournament) {
  SelfAgreement result;
  std::vector<Verdict> forth, back;  // of the system with the smaller number: first, second, tie
  for (const BothOrders& pair : both_orders(tournament)) {
    if (!pair.parsed()) continue;
    const Verdict turned = pair.b_first == Verdict::first    ? Verdict::second
                           : pair.b_first == Verdict::second ? Verdict::first
                                                             : Verdict::tie;
    forth.push_back(pair.a_first);
    back.push_back(turned);
    result.same += pair.a_first == turned ? 1 : 0;
    const bool alike = pair.a_first == pair.b_first;
    result.first_both += alike && pair.a_first == Verdict::first ? 1 : 0;
    result.second_both += alike && pair.a_first == Verdict::second ? 1 : 0;
  }
  result.pairs = static_cast<Index>(forth.size());
  result.cohen = cohen_kappa(forth, back);
  RowMatrixXd counts = RowMatrixXd::Zero(result.pairs, 3);
  for (std::size_t i = 0; i < forth.size(); ++i) {
    ++counts(static_cast<Index>(i), static_cast<Index>(forth[i]));
    ++counts(static_cast<Index>(i), static_cast<Index>(back[i]));
  }
  result.fleiss = fleiss_kappa(counts);
  return result;
}

}  // namespace qlora::inline QLORA_ABI
