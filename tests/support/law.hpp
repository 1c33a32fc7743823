// Laws: properties that hold for all inputs, tried on random ones by RapidCheck within a time
// budget.
//
//   law("the code of a decoded value is the code", [](std::uint8_t code) { RC_ASSERT(...); });
//
// QLORA_LAW_MS in the environment sets the budget of one law in milliseconds (500): when it is
// spent the remaining cases of the law pass at once. RC_PARAMS sets RapidCheck's own numbers, such
// as seed and max_success.
#pragma once

#include <rapidcheck.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>

#include "support/catch.hpp"

namespace test {

inline std::chrono::milliseconds law_budget() {
  const char* text = std::getenv("QLORA_LAW_MS");
  return std::chrono::milliseconds(text ? std::atol(text) : 500);
}

namespace detail {

template <class... Arguments, class Body>
auto within_budget(void (Body::*)(Arguments...) const, Body body) {
  const auto end = std::chrono::steady_clock::now() + law_budget();
  return [body, end](Arguments... arguments) {
    if (std::chrono::steady_clock::now() < end) body(std::move(arguments)...);
  };
}

}  // namespace detail

// `body` takes what RapidCheck makes; it draws the rest with `*rc::gen::...`.
template <class Body>
void law(const std::string& name, Body body) {
  auto bounded = detail::within_budget(&Body::operator(), body);
  const auto result =
      rc::detail::checkTestable(std::move(bounded), rc::detail::TestMetadata{name, name},
                                rc::detail::configuration().testParams);
  std::ostringstream text;
  rc::detail::printResultMessage(result, text);
  INFO(name << ": " << text.str());
  REQUIRE(result.template is<rc::detail::SuccessResult>());
}

}  // namespace test
