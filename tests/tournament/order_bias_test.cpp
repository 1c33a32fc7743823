#include "qlora/tournament/order_bias.hpp"

#include <cmath>

#include "support/catch.hpp"

using qlora::Verdict;

TEST_CASE("wins are counted by place, for each system and overall") {
  const qlora::Tournament set{{"a", "b"},
                              {"q", "r", "s"},
                              {{0, 1, 0, Verdict::first},
                               {1, 0, 0, Verdict::first},
                               {0, 1, 1, Verdict::second},
                               {1, 0, 1, Verdict::tie},
                               {0, 1, 2, Verdict::unparsed}}};
  const qlora::OrderBias bias = qlora::order_bias(set);
  REQUIRE(bias.first_wins == 2);
  REQUIRE(bias.second_wins == 1);
  REQUIRE(bias.ties == 1);
  REQUIRE(bias.unparsed == 1);
  REQUIRE(bias.systems[0].shown_first == 2);
  REQUIRE(bias.systems[0].rate_first() == 0.5);
  REQUIRE(bias.systems[0].rate_second() == 0.25);
  REQUIRE(bias.systems[1].rate() == (1 + 0.5 + 1) / 4);
}

TEST_CASE("a judge that turns with the order agrees with itself") {
  const qlora::Tournament steady{{"a", "b"},
                                 {"q", "r", "s"},
                                 {{0, 1, 0, Verdict::first},
                                  {1, 0, 0, Verdict::second},
                                  {0, 1, 1, Verdict::second},
                                  {1, 0, 1, Verdict::first},
                                  {0, 1, 2, Verdict::tie},
                                  {1, 0, 2, Verdict::tie}}};
  const qlora::SelfAgreement self = qlora::self_agreement(steady);
  REQUIRE(self.pairs == 3);
  REQUIRE(self.same == 3);
  REQUIRE(self.cohen == Approx(1));
  REQUIRE(self.fleiss == Approx(1));
  REQUIRE(self.first_both == 0);
}

TEST_CASE("a judge that prefers the first shown does not") {
  const qlora::Tournament first{{"a", "b"},
                                {"q", "r"},
                                {{0, 1, 0, Verdict::first},
                                 {1, 0, 0, Verdict::first},
                                 {0, 1, 1, Verdict::second},
                                 {1, 0, 1, Verdict::second}}};
  const qlora::SelfAgreement self = qlora::self_agreement(first);
  REQUIRE(self.same == 0);
  REQUIRE(self.first_both == 1);
  REQUIRE(self.second_both == 1);
  REQUIRE(self.cohen == Approx(-1));
  REQUIRE(std::isnan(qlora::self_agreement({{"a", "b"}, {}, {}}).cohen));
}
