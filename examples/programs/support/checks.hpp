// What an option may be, refused in words: "--steps: expected 1 or more, found 0".
#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "qlora/core/error.hpp"

namespace program {

namespace detail {

// Empty when `text` is a number of T, else what was expected instead.
template <class T>
std::string parse_number(const std::string& text, T& value) {
  if constexpr (std::is_integral_v<T>) {
    const char *begin = text.data(), *end = begin + text.size();
    const auto [stop, failure] = std::from_chars(begin, end, value);
    const bool whole = stop == end && begin != end && failure != std::errc::invalid_argument;
    const std::size_t digits = text.find_first_not_of('-');
    // The parser of the command line takes 010 for eight.
    const bool octal = whole && text.size() > digits + 1 && text[digits] == '0';
    if (!whole || octal)
      return std::is_signed_v<T> ? "a whole number" : "a whole number of 0 or more";
    if (failure != std::errc())
      return qlora::message("a number from ", std::numeric_limits<T>::min(), " to ",
                            std::numeric_limits<T>::max());
  } else {
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    if (text.empty() || end != text.c_str() + text.size()) return "a number";
    if (!(std::abs(number) <= static_cast<double>(std::numeric_limits<T>::max())))
      return "a finite number";
    value = static_cast<T>(number);
  }
  return "";
}

template <class T, class Holds>
CLI::Validator number_that(const std::string& expected, Holds holds) {
  return {[expected, holds](const std::string& text) {
            T value{};
            std::string wrong = parse_number(text, value);
            if (wrong.empty() && !holds(value)) wrong = expected;
            return wrong.empty() ? "" : "expected " + wrong + ", found " + text;
          },
          expected};
}

}  // namespace detail

template <class T>
CLI::Validator at_least(T least) {
  return detail::number_that<T>(qlora::message(least, " or more"),
                                [least](T value) { return value >= least; });
}

template <class T>
CLI::Validator between(T least, T most) {
  return detail::number_that<T>(qlora::message(least, " to ", most),
                                [least, most](T value) { return value >= least && value <= most; });
}

// A number above 0.
template <class T>
CLI::Validator positive() {
  return detail::number_that<T>("more than 0", [](T value) { return value > 0; });
}

// Any finite number, or any whole one.
template <class T>
CLI::Validator any_number() {
  return detail::number_that<T>("", [](T) { return true; });
}

inline CLI::Validator one_of(std::vector<std::string> names) {
  std::string all;
  for (std::size_t i = 0; i < names.size(); ++i)
    all += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
  return {[names, all](const std::string& text) {
            for (const auto& name : names)
              if (name == text) return std::string();
            return "expected " + all + ", found '" + text + "'";
          },
          all};
}

// A text with something to see in it.
inline CLI::Validator not_blank() {
  return {[](const std::string& text) {
            return text.find_first_not_of(" \t\r\n") == std::string::npos
                       ? std::string("expected a text, found an empty one")
                       : std::string();
          },
          ""};
}

}  // namespace program
