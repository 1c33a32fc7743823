/// Jinja's filters, with transformers' own `tojson`.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/methods.hpp"

namespace qlora::inline QLORA_ABI::jinja {

namespace detail {

using FilterFunction = Value (*)(Machine& machine, const Value& subject, const Arguments& rest);

/// len()
inline Value length_of(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return 0;
    case Kind::text:
      return Value::number(character_count(value.text().bytes));
    case Kind::dict:
      return Value::number(value.dict().entries.size());
    case Kind::list:
      if (value.list().flavour != Flavour::iterator)
        return Value::number(value.list().items.size());
      [[fallthrough]];
    default:
      throw Failure(message("a ", value.type(), " has no length"));
  }
}

/// A value by a path such as "function.name" or 0; undefined where it is not there.
inline Value by_path(Machine& machine, Value value, const Value& path) {
  if (path.is_whole()) return machine.item(value, path);
  expect(path.is_text(), "attribute: expected a text or a number, found ", path.type());
  const std::string& names = path.text().bytes;
  for (std::size_t begin = 0; begin <= names.size();) {
    const std::size_t end = std::min(names.find('.', begin), names.size());
    const std::string name = names.substr(begin, end - begin);
    const bool number = !name.empty() && name.size() < 10 &&
                        name.find_first_not_of("0123456789") == std::string::npos;
    value = machine.item(value, number ? Value(std::atoi(name.c_str())) : Value(Text(name)));
    begin = end + 1;
  }
  return value;
}

/// What is compared when values are sorted: an attribute, texts without case unless wanted.
class SortKey {
 public:
  SortKey(Machine& machine, const Given& given, std::size_t attribute, std::size_t case_sensitive)
      : machine_(machine), keeps_case_(given.flag(case_sensitive, false)) {
    if (given.has_value(attribute)) attribute_ = given.value(attribute);
  }
  Value operator()(const Value& value) const {
    Value key = attribute_ ? by_path(machine_, value, *attribute_) : value;
    return key.is_text() && !keeps_case_ ? Value(lower(key.text())) : key;
  }

 private:
  Machine& machine_;
  bool keeps_case_;
  std::optional<Value> attribute_;
};

/// Stable, as Python's sorted.
inline std::vector<Value> sorted(Machine& machine, const std::vector<Value>& items,
                                 const std::vector<Value>& keys, bool reverse) {
  machine.budget().spend_items(items.size(), 20);
  std::vector<std::size_t> order(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return reverse ? less(keys[b], keys[a]) : less(keys[a], keys[b]);
  });
  std::vector<Value> result;
  for (const std::size_t i : order) result.push_back(items[i]);
  return result;
}

inline Value sort(Machine& machine, const Value& subject, const Arguments& rest) {
  const Given given(rest, "sort", {"reverse", "case_sensitive", "attribute"});
  expect(!given.has_value(2) || !given.value(2).is_text() ||
             given.value(2).text().bytes.find(',') == std::string::npos,
         "sort by several attributes is not supported");
  const SortKey key(machine, given, 2, 1);
  const std::vector<Value> items = items_of(subject);
  std::vector<Value> keys;
  for (const Value& item : items) keys.push_back(key(item));
  return Value::list(sorted(machine, items, keys, given.flag(0, false)));
}

inline Value dictsort(Machine& machine, const Value& subject, const Arguments& rest) {
  const Given given(rest, "dictsort", {"case_sensitive", "by", "reverse"});
  require_defined(subject);
  expect(subject.is(Kind::dict), "dictsort: expected a dict, found ", subject.type());
  const std::string by = given.has(1) ? given.text(1).bytes : "key";
  expect(by == "key" || by == "value", "dictsort: by: expected key or value, found '", by, "'");
  std::vector<Value> items, keys;
  for (const auto& [key, value] : subject.dict().entries) {
    items.push_back(Value::tuple({key, value}));
    const Value& sorts = by == "key" ? key : value;
    keys.push_back(sorts.is_text() && !given.flag(0, false) ? Value(lower(sorts.text())) : sorts);
  }
  return Value::list(sorted(machine, items, keys, given.flag(2, false)));
}

inline Value extreme(Machine& machine, const Value& subject, const Arguments& rest, bool largest) {
  const Given given(rest, largest ? "max" : "min", {"case_sensitive", "attribute"});
  const SortKey key(machine, given, 1, 0);
  const std::vector<Value> items = items_of(subject);
  if (items.empty()) return Value::undefined("no aggregated item, sequence was empty");
  Value best = items[0], best_key = key(items[0]);
  for (std::size_t i = 1; i < items.size(); ++i) {
    const Value next = key(items[i]);
    if (largest ? less(best_key, next) : less(next, best_key)) {
      best = items[i];
      best_key = next;
    }
  }
  return best;
}

inline Value unique(Machine& machine, const Value& subject, const Arguments& rest) {
  const Given given(rest, "unique", {"case_sensitive", "attribute"});
  const SortKey key(machine, given, 1, 0);
  std::vector<Value> kept, seen;
  for (const Value& item : items_of(subject)) {
    const Value next = key(item);
    expect(!next.is(Kind::dict) && !(next.is(Kind::list) && next.list().flavour == Flavour::list),
           "unique: a ", next.type(), " has no hash");
    machine.budget().spend(seen.size() + 1);
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& old) { return equal(old, next); }))
      continue;
    seen.push_back(next);
    kept.push_back(item);
  }
  return Value::iterator(std::move(kept));
}

/// select, reject, selectattr and rejectattr.
inline Value choose(Machine& machine, const Value& subject, const Arguments& rest,
                    bool by_attribute, bool keeps) {
  Arguments test = rest;
  std::optional<Value> attribute;
  if (by_attribute) {
    expect(!test.positional.empty(), "selectattr: expected the name of an attribute");
    attribute = test.positional[0];
    test.positional.erase(test.positional.begin());
  }
  std::string name;
  if (!test.positional.empty()) {
    expect(test.positional[0].is_text(), "select: expected the name of a test");
    name = test.positional[0].text().bytes;
    test.positional.erase(test.positional.begin());
  }
  std::vector<Value> kept;
  if (!subject.truth()) return Value::iterator({});
  for (const Value& item : items_of(subject)) {
    const Value value = attribute ? by_path(machine, item, *attribute) : item;
    const bool holds = name.empty() ? value.truth() : machine.test(name, value, test);
    if (holds == keeps) kept.push_back(item);
  }
  return Value::iterator(std::move(kept));
}

inline Value map(Machine& machine, const Value& subject, const Arguments& rest) {
  std::vector<Value> results;
  if (!subject.truth()) return Value::iterator({});
  if (rest.positional.empty()) {
    const Given given(rest, "map", {"attribute", "default"});
    for (const Value& item : items_of(subject)) {
      Value value = by_path(machine, item, given.value(0));
      if (value.is(Kind::undefined) && given.has_value(1)) value = given.value(1);
      results.push_back(std::move(value));
    }
    return Value::iterator(std::move(results));
  }
  expect(rest.positional[0].is_text(), "map: expected the name of a filter");
  const std::string name = rest.positional[0].text().bytes;
  Arguments more = rest;
  more.positional.erase(more.positional.begin());
  for (const Value& item : items_of(subject)) results.push_back(machine.filter(name, item, more));
  return Value::iterator(std::move(results));
}

/// float() of a text; nothing where Python raises ValueError.
inline std::optional<double> number_of(const std::string& text) {
  std::string letters;
  for (const char c : text)
    if (is_letter(c)) letters += lower_letter(c);
  const bool word = letters == "inf" || letters == "infinity" || letters == "nan";
  if (!word && text.find_first_not_of("0123456789+-.eE") != std::string::npos) {
    expect(text.find('_') == std::string::npos, "the number '", text, "' is not supported");
    return std::nullopt;
  }
  char* last = nullptr;
  const double number = std::strtod(text.c_str(), &last);
  if (text.empty() || *last != '\0') return std::nullopt;
  return number;
}
inline std::string trimmed(const Text& text) {
  const auto [begin, end] = stripped(text.bytes, nullptr, true, true);
  return text.bytes.substr(begin, end - begin);
}

inline Value to_whole(Machine&, const Value& subject, const Arguments& rest) {
  const Given given(rest, "int", {"default", "base"});
  expect(!given.has(1), "int with a base is not supported");
  const Value otherwise = given.has(0) ? given.value(0) : Value(0);
  require_defined(subject);
  if (subject.is_whole()) return subject.whole();
  std::optional<double> number;
  if (subject.is(Kind::real)) number = subject.real();
  if (subject.is_text()) {
    const std::string text = trimmed(subject.text());
    const std::size_t sign = text.starts_with("-") || text.starts_with("+") ? 1 : 0;
    if (text.size() > sign && text.find_first_not_of("0123456789", sign) == std::string::npos) {
      errno = 0;
      const std::int64_t value = std::strtoll(text.c_str(), nullptr, 10);
      expect(errno == 0, "a whole number beyond 64 bits is not supported");
      return value;
    }
    number = number_of(text);
  }
  if (!number || std::isnan(*number) || std::isinf(*number)) return otherwise;
  expect(std::abs(*number) < 9e18, "a whole number beyond 64 bits is not supported");
  return static_cast<std::int64_t>(*number);
}

inline Value to_real(Machine&, const Value& subject, const Arguments& rest) {
  const Given given(rest, "float", {"default"});
  const Value otherwise = given.has(0) ? given.value(0) : Value(0.0);
  require_defined(subject);
  if (subject.is_number()) return subject.real();
  const auto number = subject.is_text() ? number_of(trimmed(subject.text())) : std::nullopt;
  return number ? Value(*number) : otherwise;
}

inline Value round(Machine&, const Value& subject, const Arguments& rest) {
  const Given given(rest, "round", {"precision", "method"});
  const std::string method = given.has(1) ? given.text(1).bytes : "common";
  const std::int64_t precision = given.whole(0, 0);
  expect(subject.is_number(), "round: expected a number, found ", subject.type());
  expect(precision >= 0 && precision <= 15, "round to ", precision, " digits is not supported");
  if (method == "common") {
    if (subject.is_whole()) return subject.whole();
    std::string text(400, '\0');
    std::snprintf(text.data(), text.size(), "%.*f", static_cast<int>(precision), subject.real());
    return std::strtod(text.c_str(), nullptr);
  }
  expect(method == "ceil" || method == "floor", "round: expected common, ceil or floor, found '",
         method, "'");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = subject.real() * scale;
  return (method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale;
}

inline Value indent(Machine& machine, const Value& subject, const Arguments& rest) {
  const Given given(rest, "indent", {"width", "first", "blank"});
  Text by;
  if (given.has(0) && given.value(0).is_text()) {
    by = given.text(0);
  } else {
    const std::int64_t width = given.whole(0, 4);
    if (width > 0) machine.budget().spend_bytes(1, static_cast<std::size_t>(width));
    by = Text(std::string(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' '));
  }
  require_defined(subject);
  expect(subject.is_text(), "indent: expected a text, found ", subject.type());
  const std::vector<Text> lines = split_lines(subject.text() + Text("\n"), false);
  const bool blank = given.flag(2, false);
  Text result;
  if (given.flag(1, false)) result += by;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) result += Text("\n");
    if (i > 0 && (blank || !lines[i].empty())) result += by;
    result += lines[i];
    machine.budget().spend_bytes(result.size());
  }
  return result;
}

inline Value tojson(Machine& machine, const Value& subject, const Arguments& rest) {
  const Given given(rest, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = given.flag(0, false);
  style.sorts = given.flag(3, false);
  if (given.has_value(1)) {
    if (given.value(1).is_text()) {
      style.indent = given.text(1).bytes;
    } else {
      const std::int64_t width = std::max<std::int64_t>(given.whole(1, 0), 0);
      expect(width <= 1000, "tojson: indent: expected at most 1000, found ", width);
      style.indent = std::string(static_cast<std::size_t>(width), ' ');
    }
    style.item_separator = ",";
  }
  if (given.has_value(2)) {
    const std::vector<Value> both = items_of(given.value(2));
    expect(both.size() == 2 && both[0].is_text() && both[1].is_text(),
           "tojson: separators: expected two texts");
    style.item_separator = both[0].text().bytes;
    style.key_separator = both[1].text().bytes;
  }
  require_defined(subject);
  Text text = to_json(subject, style);
  machine.budget().spend_bytes(text.size());
  return text;
}

inline Value default_value(Machine&, const Value& subject, const Arguments& rest) {
  const Given given(rest, "default", {"default_value", "boolean"});
  const bool absent = given.flag(1, false) ? !subject.truth() : subject.is(Kind::undefined);
  if (!absent) return subject;
  return given.has(0) ? given.value(0) : Value("");
}

inline Value joined(Machine& machine, const Value& subject, const Arguments& rest) {
  const Given given(rest, "join", {"d", "attribute"});
  std::vector<Value> items = items_of(subject);
  if (given.has_value(1))
    for (Value& item : items) item = by_path(machine, item, given.value(1));
  return join(items, given.has(0) ? str(given.value(0)) : Text(), machine.budget());
}

inline Value first_or_last(Machine&, const Value& subject, const Arguments& rest, bool last) {
  (void)Given(rest, last ? "last" : "first", {});
  require_defined(subject.is(Kind::undefined) ? Value("") : subject);
  if (subject.is(Kind::list) && subject.list().flavour == Flavour::iterator) {
    expect(!last, "a generator can't be read backwards");
    const List& list = subject.list();
    if (list.left() == 0) return Value::undefined("no first item, sequence was empty");
    return list.items[list.taken++];
  }
  const std::vector<Value> items = items_of(subject);
  if (items.empty())
    return Value::undefined(message("no ", last ? "last" : "first", " item, sequence was empty"));
  return last ? items.back() : items.front();
}

inline Value reversed(Machine&, const Value& subject, const Arguments& rest) {
  (void)Given(rest, "reverse", {});
  std::vector<Value> items = items_of(subject);
  std::reverse(items.begin(), items.end());
  if (!subject.is_text()) return Value::iterator(std::move(items));
  Text text;
  for (const Value& item : items) text += item.text();
  return text;
}

inline Value sum(Machine& machine, const Value& subject, const Arguments& rest) {
  const Given given(rest, "sum", {"attribute", "start"});
  Value total = given.has(1) ? given.value(1) : Value(0);
  for (const Value& item : items_of(subject)) {
    const Value value = given.has_value(0) ? by_path(machine, item, given.value(0)) : item;
    expect(!total.is_text(), "sum of texts is not possible");
    total = arithmetic("+", total, value, machine.budget());
  }
  return total;
}

inline Value items_filter(Machine&, const Value& subject, const Arguments& rest) {
  (void)Given(rest, "items", {});
  if (subject.is(Kind::undefined)) return Value::iterator({});
  expect(subject.is(Kind::dict), "items: expected a dict, found ", subject.type());
  std::vector<Value> pairs;
  for (const auto& [key, value] : subject.dict().entries)
    pairs.push_back(Value::tuple({key, value}));
  return Value::iterator(std::move(pairs));
}

inline Value absolute(const Value& subject) {
  expect(subject.is_number(), "abs: expected a number, found ", subject.type());
  if (subject.is(Kind::real)) return std::abs(subject.real());
  return subject.whole() < 0 ? whole_arithmetic('-', 0, subject.whole()) : Value(subject.whole());
}

inline Value replaced(Machine& machine, const Value& subject, const Arguments& rest) {
  const Given given(rest, "replace", {"old", "new", "count"});
  return replace(str(subject), str(given.value(0)), str(given.value(1)),
                 given.has_value(2) ? given.whole(2, -1) : -1, machine.budget());
}

inline Value formatted(Machine& machine, const Value& subject, const Arguments& rest) {
  expect(rest.named.empty(), "format with names is not supported");
  return percent_format(str(subject), Value::tuple(rest.positional), machine.budget());
}

inline Value safe(const Value& subject) {
  Text text = str(subject);
  text.markup = true;
  return text;
}

/// Attributes only, not the items of a dictionary.
inline Value attr(Machine&, const Value& subject, const Arguments& rest) {
  const Given given(rest, "attr", {"name"});
  const std::string& name = given.text(0).bytes;
  expect(!subject.is(Kind::name_space) && !subject.is(Kind::loop) && !subject.is(Kind::callable),
         "attr of a ", subject.type(), " is not supported");
  const auto method = find_method(subject, name);
  return method ? *method : Value::undefined(message("a ", subject.type(), " has no '", name, "'"));
}

inline const std::unordered_map<std::string_view, FilterFunction>& all_filters() {
  using M = Machine&;
  using V = const Value&;
  using A = const Arguments&;
  static const std::unordered_map<std::string_view, FilterFunction> filters = {
      {"abs", [](M, V v, A a) { return (void)Given(a, "abs", {}), absolute(v); }},
      {"attr", attr},
      {"capitalize",
       [](M, V v, A a) { return (void)Given(a, "capitalize", {}), Value(capitalize(str(v))); }},
      {"count", [](M, V v, A a) { return (void)Given(a, "count", {}), length_of(v); }},
      {"d", default_value},
      {"default", default_value},
      {"dictsort", dictsort},
      {"first", [](M m, V v, A a) { return first_or_last(m, v, a, false); }},
      {"float", to_real},
      {"format", formatted},
      {"indent", indent},
      {"int", to_whole},
      {"items", items_filter},
      {"join", joined},
      {"last", [](M m, V v, A a) { return first_or_last(m, v, a, true); }},
      {"length", [](M, V v, A a) { return (void)Given(a, "length", {}), length_of(v); }},
      {"list", [](M, V v, A a) { return (void)Given(a, "list", {}), Value::list(items_of(v)); }},
      {"lower", [](M, V v, A a) { return (void)Given(a, "lower", {}), Value(lower(str(v))); }},
      {"map", map},
      {"max", [](M m, V v, A a) { return extreme(m, v, a, true); }},
      {"min", [](M m, V v, A a) { return extreme(m, v, a, false); }},
      {"reject", [](M m, V v, A a) { return choose(m, v, a, false, false); }},
      {"rejectattr", [](M m, V v, A a) { return choose(m, v, a, true, false); }},
      {"replace", replaced},
      {"reverse", reversed},
      {"round", round},
      {"safe", [](M, V v, A a) { return (void)Given(a, "safe", {}), safe(v); }},
      {"select", [](M m, V v, A a) { return choose(m, v, a, false, true); }},
      {"selectattr", [](M m, V v, A a) { return choose(m, v, a, true, true); }},
      {"sort", sort},
      {"string", [](M, V v, A a) { return (void)Given(a, "string", {}), Value(str(v)); }},
      {"sum", sum},
      {"title",
       [](M, V v, A a) { return (void)Given(a, "title", {}), Value(title(str(v), true)); }},
      {"tojson", tojson},
      {"trim",
       [](M, V v, A a) { return Value(strip(str(v), Given(a, "trim", {"chars"}), true, true)); }},
      {"unique", unique},
      {"upper", [](M, V v, A a) { return (void)Given(a, "upper", {}), Value(upper(str(v))); }}};
  return filters;
}

}  // namespace detail

/// Whether apply_filter knows the name.
inline bool knows_filter(std::string_view name) { return detail::all_filters().contains(name); }

/// `subject|name(arguments)`. Throws Failure for a filter that is not known.
inline Value apply_filter(Machine& machine, const std::string& name, const Value& subject,
                          const Arguments& arguments) {
  const auto place = detail::all_filters().find(name);
  expect(place != detail::all_filters().end(), "the filter '", name, "' is not known");
  if (subject.is_text()) machine.budget().spend_bytes(subject.text().size());
  if (subject.is(Kind::list)) machine.budget().spend_items(subject.list().items.size());
  return place->second(machine, subject, arguments);
}

}  // namespace qlora::inline QLORA_ABI::jinja
