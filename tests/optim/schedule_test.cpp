#include "qlora/optim/schedule.hpp"

#include <cmath>

#include "support/catch.hpp"

using qlora::Schedule;
using qlora::schedule_factor;

// transformers' get_*_schedule_with_warmup, by their formulas.
TEST_CASE("warm-up rises as t / w from 0") {
  for (const auto schedule : {Schedule::constant, Schedule::cosine, Schedule::linear}) {
    REQUIRE(schedule_factor(schedule, 0, 4, 20) == 0);
    REQUIRE(schedule_factor(schedule, 3, 4, 20) == 0.75);
    REQUIRE(schedule_factor(schedule, 4, 4, 20) == 1);
  }
}

TEST_CASE("after it the factor is constant, a line to 0 or half a cosine to 0") {
  REQUIRE(schedule_factor(Schedule::constant, 19, 4, 20) == 1);
  REQUIRE(schedule_factor(Schedule::linear, 12, 4, 20) == 0.5);
  REQUIRE(schedule_factor(Schedule::linear, 20, 4, 20) == 0);
  REQUIRE(std::abs(schedule_factor(Schedule::cosine, 12, 4, 20) - 0.5) < 1e-15);
  REQUIRE(std::abs(schedule_factor(Schedule::cosine, 8, 4, 20) - (1 + std::sqrt(0.5)) / 2) < 1e-15);
  REQUIRE(schedule_factor(Schedule::cosine, 30, 4, 20) < 1e-15);
}

TEST_CASE("no warm-up, and a warm-up as long as the run, are fine") {
  REQUIRE(schedule_factor(Schedule::linear, 0, 0, 10) == 1);
  REQUIRE(schedule_factor(Schedule::linear, 9, 10, 10) == 0.9);
  REQUIRE(schedule_factor(Schedule::cosine, 0, 0, 0) == 1);
}

TEST_CASE("names are known, others refused") {
  REQUIRE(qlora::schedule_from_name("cosine") == Schedule::cosine);
  REQUIRE_THROWS_AS(qlora::schedule_from_name("step"), qlora::OptionError);
}
