#include "qlora/tournament/tournament.hpp"

#include "support/catch.hpp"

using qlora::Verdict;

namespace {

// a and b on two questions in both orders, a and c on one in one order.
const qlora::Tournament set{{"a", "b", "c"},
                            {"q", "r"},
                            {{0, 1, 0, Verdict::first},
                             {1, 0, 0, Verdict::first},
                             {0, 1, 1, Verdict::tie},
                             {1, 0, 1, Verdict::unparsed},
                             {2, 0, 1, Verdict::second}}};

}  // namespace

TEST_CASE("parsed judgements are matches, a tie half a win") {
  const auto all = qlora::matches(set);
  REQUIRE(all.size() == 4);
  REQUIRE(all[0].result == 1);
  REQUIRE(all[1].first == 1);
  REQUIRE(all[2].result == 0.5);
  REQUIRE(all[3].result == 0);
  REQUIRE(qlora::matches_played(all, 3) == std::vector<qlora::Index>{4, 3, 1});
}

TEST_CASE("both orders of a question are one match with their mean, if both are parsed") {
  const auto all = qlora::combined_matches(set);
  REQUIRE(all.size() == 1);
  REQUIRE(all[0].first == 0);
  REQUIRE(all[0].second == 1);
  REQUIRE(all[0].result == 0.5);  // the first shown won both times
  REQUIRE(qlora::both_orders(set).size() == 2);
}

TEST_CASE("judgements that come again pair up in their order") {
  const qlora::Tournament again{{"a", "b"},
                                {"q"},
                                {{0, 1, 0, Verdict::first},
                                 {0, 1, 0, Verdict::tie},
                                 {1, 0, 0, Verdict::second},
                                 {1, 0, 0, Verdict::tie},
                                 {0, 1, 0, Verdict::first}}};
  const auto all = qlora::combined_matches(again);
  REQUIRE(all.size() == 2);
  REQUIRE(all[0].result == 1);
  REQUIRE(all[1].result == 0.5);
}

TEST_CASE("some questions only") {
  const auto part = qlora::of_questions(set, [](qlora::Index q) { return q == 1; });
  REQUIRE(part.judgements.size() == 3);
  REQUIRE(part.systems == set.systems);
}
