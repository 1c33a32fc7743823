/// Jinja's tests: what stands after `is`.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/filters.hpp"

namespace qlora::inline QLORA_ABI::jinja {

namespace detail {

using Test = bool (*)(const Value& subject, const Given& given);

struct TestEntry {
  std::size_t arguments;
  Test holds;
};

inline bool is_iterable(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::text:
    case Kind::list:
    case Kind::dict:
    case Kind::loop:
      return true;
    default:
      return false;
  }
}

inline bool is_sequence(const Value& value) {
  if (!value.is(Kind::list))
    return value.is(Kind::text) || value.is(Kind::dict) || value.is(Kind::undefined);
  const Flavour flavour = value.list().flavour;
  return flavour == Flavour::list || flavour == Flavour::tuple || flavour == Flavour::range;
}

inline bool has_case(const Value& value, bool upper_case) {
  const Text text = str(value);
  require_simple_case(text.bytes, upper_case ? "upper" : "lower");
  bool any = false;
  for (const char c : text.bytes) {
    if (!is_letter(c)) continue;
    any = true;
    if ((upper_letter(c) == c) != upper_case) return false;
  }
  return any;
}

inline Value remainder(const Value& value, const Value& divisor) {
  require_defined(value);
  expect(value.is_number() && divisor.is_number(), "expected numbers, found ", value.type(),
         " and ", divisor.type());
  Budget budget{Limits{}};
  return arithmetic("%", value, divisor, budget);
}

inline bool same_object(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  if (a.is(Kind::none)) return true;
  if (a.is(Kind::boolean)) return a.boolean() == b.boolean();
  expect(a.is(Kind::dict) || a.is(Kind::list) || a.is(Kind::name_space),
         "'sameas' of values of type ", a.type(), " is not supported");
  return a.identity() == b.identity();
}

inline const std::unordered_map<std::string_view, TestEntry>& all_tests() {
  using V = const Value&;
  using G = const Given&;
  static const auto tests = [] {
    std::unordered_map<std::string_view, TestEntry> all = {
        {"defined", {0, [](V v, G) { return !v.is(Kind::undefined); }}},
        {"undefined", {0, [](V v, G) { return v.is(Kind::undefined); }}},
        {"none", {0, [](V v, G) { return v.is(Kind::none); }}},
        {"boolean", {0, [](V v, G) { return v.is(Kind::boolean); }}},
        {"true", {0, [](V v, G) { return v.is(Kind::boolean) && v.boolean(); }}},
        {"false", {0, [](V v, G) { return v.is(Kind::boolean) && !v.boolean(); }}},
        {"integer", {0, [](V v, G) { return v.is(Kind::integer); }}},
        {"float", {0, [](V v, G) { return v.is(Kind::real); }}},
        {"number", {0, [](V v, G) { return v.is_number(); }}},
        {"string", {0, [](V v, G) { return v.is_text(); }}},
        {"mapping", {0, [](V v, G) { return v.is(Kind::dict); }}},
        {"iterable", {0, [](V v, G) { return is_iterable(v); }}},
        {"sequence", {0, [](V v, G) { return is_sequence(v); }}},
        {"callable", {0, [](V v, G) { return v.is(Kind::callable) || v.is(Kind::undefined); }}},
        {"odd", {0, [](V v, G) { return equal(remainder(v, 2), 1); }}},
        {"even", {0, [](V v, G) { return equal(remainder(v, 2), 0); }}},
        {"divisibleby", {1, [](V v, G g) { return equal(remainder(v, g.value(0)), 0); }}},
        {"lower", {0, [](V v, G) { return has_case(v, false); }}},
        {"upper", {0, [](V v, G) { return has_case(v, true); }}},
        {"sameas", {1, [](V v, G g) { return same_object(v, g.value(0)); }}},
        {"in", {1, [](V v, G g) { return contains(g.value(0), v); }}},
        {"filter", {0, [](V v, G) { return v.is_text() && knows_filter(v.text().bytes); }}}};
    const auto compare = [&](std::initializer_list<std::string_view> names, Test holds) {
      for (const auto name : names) all[name] = {1, holds};
    };
    compare({"==", "eq", "equalto"}, [](V v, G g) { return equal(v, g.value(0)); });
    compare({"!=", "ne"}, [](V v, G g) { return !equal(v, g.value(0)); });
    compare({"<", "lt", "lessthan"}, [](V v, G g) { return less(v, g.value(0)); });
    compare({">", "gt", "greaterthan"}, [](V v, G g) { return less(g.value(0), v); });
    compare({"<=", "le"}, [](V v, G g) { return less_or_equal(v, g.value(0)); });
    compare({">=", "ge"}, [](V v, G g) { return less_or_equal(g.value(0), v); });
    return all;
  }();
  return tests;
}

}  // namespace detail

/// `subject is name(arguments)`. Throws Failure for a test that is not known.
inline bool apply_test(const std::string& name, const Value& subject, const Arguments& arguments) {
  const auto place = detail::all_tests().find(name);
  expect(place != detail::all_tests().end(), "the test '", name, "' is not known");
  const auto& [count, holds] = place->second;
  const Given given = count == 0 ? Given(arguments, name, {}) : Given(arguments, name, {"other"});
  return holds(subject, given);
}

}  // namespace qlora::inline QLORA_ABI::jinja
