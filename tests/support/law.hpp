// Laws: properties that hold for all inputs, tried on random ones by RapidCheck within a time
// budget.
//
//   law("the code of a decoded value is the code", [](std::uint8_t code) { RC_ASSERT(...); });
//
// A law runs RapidCheck's 100 cases, or as many as its budget of 500 ms allows, but at least 10: a
// slow machine makes a test longer and never weaker. QLORA_LAW_MS in the environment sets another
// budget in milliseconds; one below 500 allows a single case too (valgrind, an emulator). Each law
// prints how many cases ran. RC_PARAMS sets RapidCheck's own numbers, such as seed and max_success.
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>

#include "support/catch.hpp"

namespace test {

inline constexpr long usual_law_ms = 500;

// How long a law goes on beyond its fewest cases, and how many those are.
struct LawBudget {
  std::chrono::milliseconds time{usual_law_ms};
  int fewest = 10;
};

inline LawBudget law_budget() {
  LawBudget budget;
  if (const char* text = std::getenv("QLORA_LAW_MS")) {
    const long ms = std::atol(text);
    budget.time = std::chrono::milliseconds(ms);
    if (ms < usual_law_ms) budget.fewest = 1;
  }
  budget.fewest = std::min(budget.fewest, rc::detail::configuration().testParams.maxSuccess);
  return budget;
}

namespace detail {

// Counts the cases that `ran`; those beyond the budget pass at once.
template <class... Arguments, class Body>
auto within_budget(void (Body::*)(Arguments...) const, Body body, const LawBudget& budget,
                   int& ran) {
  const auto end = std::chrono::steady_clock::now() + budget.time;
  return [body, end, fewest = budget.fewest, &ran](Arguments... arguments) {
    if (ran >= fewest && std::chrono::steady_clock::now() >= end) return;
    body(std::move(arguments)...);
    ++ran;  // a case that RC_PRE discards or that fails is none
  };
}

}  // namespace detail

// `body` takes what RapidCheck makes; it draws the rest with `*rc::gen::...`.
template <class Body>
void law(const std::string& name, Body body) {
  const LawBudget budget = law_budget();
  int ran = 0;
  auto bounded = detail::within_budget(&Body::operator(), body, budget, ran);
  const auto result =
      rc::detail::checkTestable(std::move(bounded), rc::detail::TestMetadata{name, name},
                                rc::detail::configuration().testParams);
  std::ostringstream text;
  rc::detail::printResultMessage(result, text);
  INFO(name << ": " << text.str());
  REQUIRE(result.template is<rc::detail::SuccessResult>());
  std::cout << "law '" << name << "': " << ran << " cases\n";
  REQUIRE(ran >= budget.fewest);
}

}  // namespace test
