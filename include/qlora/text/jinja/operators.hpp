/// Python's operators on values: comparison, membership and arithmetic.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/budget.hpp"
#include "qlora/text/jinja/value.hpp"
#include "qlora/text/jinja/writing.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// Throws Failure where a value is used that is not there.
inline void require_defined(const Value& value) {
  if (value.is(Kind::undefined)) throw Failure(value.why());
}

/// ==
inline bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_whole() && b.is_whole()) return a.whole() == b.whole();
    return a.real() == b.real();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::text:
      return a.text().bytes == b.text().bytes;
    case Kind::list: {
      const List &x = a.list(), &y = b.list();
      if (&x == &y) return true;
      if (x.flavour != y.flavour || x.items.size() != y.items.size()) return false;
      if (x.flavour == Flavour::iterator || x.flavour == Flavour::values) return false;
      expect(x.flavour != Flavour::keys && x.flavour != Flavour::items,
             "comparing the views of dictionaries is not supported");
      for (std::size_t i = 0; i < x.items.size(); ++i)
        if (!equal(x.items[i], y.items[i])) return false;
      return true;
    }
    case Kind::dict: {
      const Dict &x = a.dict(), &y = b.dict();
      if (x.entries.size() != y.entries.size()) return false;
      for (const auto& [key, value] : x.entries) {
        const Value* other = y.find(key);
        if (other == nullptr || !equal(value, *other)) return false;
      }
      return true;
    }
    default:
      return a.identity() == b.identity();
  }
}

/// <. Throws Failure for values that Python does not order.
inline bool less(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_whole() && b.is_whole()) return a.whole() < b.whole();
    return a.real() < b.real();
  }
  if (a.is_text() && b.is_text()) return a.text().bytes < b.text().bytes;
  require_defined(a);
  require_defined(b);
  const auto ordered = [](const Value& v) {
    return v.is(Kind::list) &&
           (v.list().flavour == Flavour::list || v.list().flavour == Flavour::tuple);
  };
  expect(ordered(a) && ordered(b) && a.list().flavour == b.list().flavour, "can't order ", a.type(),
         " and ", b.type());
  const auto &x = a.list().items, &y = b.list().items;
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i)
    if (!equal(x[i], y[i])) return less(x[i], y[i]);
  return x.size() < y.size();
}

/// <=
inline bool less_or_equal(const Value& a, const Value& b) {
  return less(a, b) || (!less(b, a) && equal(a, b));
}

/// The values that a loop over `value` sees; an iterator is empty afterwards.
inline std::vector<Value> items_of(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return {};
    case Kind::text: {
      std::vector<Value> characters;
      const Text& text = value.text();
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = at + character_at(text.bytes, at).length;
        characters.emplace_back(text.slice(at, end));
        at = end;
      }
      return characters;
    }
    case Kind::list: {
      const List& list = value.list();
      const std::size_t begin = list.taken;
      if (list.flavour == Flavour::iterator) list.taken = list.items.size();
      return {list.items.begin() + static_cast<std::ptrdiff_t>(begin), list.items.end()};
    }
    case Kind::dict: {
      std::vector<Value> keys;
      for (const auto& entry : value.dict().entries) keys.push_back(entry.first);
      return keys;
    }
    default:
      throw Failure(message("a ", value.type(), " can't be iterated over"));
  }
}

/// `item in container`
inline bool contains(const Value& container, const Value& item) {
  if (container.is_text()) {
    if (item.is(Kind::undefined)) require_defined(item);
    expect(item.is_text(), "'in' a text: expected a text, found ", item.type());
    return container.text().bytes.find(item.text().bytes) != std::string::npos;
  }
  if (container.is(Kind::dict)) {
    expect(item.is_text() || item.is_number() || item.is(Kind::none) || item.is(Kind::undefined) ||
               (item.is(Kind::list) && item.list().flavour == Flavour::tuple),
           "a ", item.type(), " can't be a key");
    return container.dict().find(item) != nullptr;
  }
  for (const Value& each : items_of(container))
    if (equal(each, item)) return true;
  return false;
}

namespace detail {

inline Value whole_arithmetic(char sign, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  switch (sign) {
    case '+':
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case '-':
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case '*':
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    default: {
      expect(b != 0, "division by zero");
      if (b == -1) {
        overflow = sign == '/' && __builtin_sub_overflow(std::int64_t{0}, a, &result);
        break;
      }
      const bool rounds = a % b != 0 && (a < 0) != (b < 0);
      result = sign == '/' ? a / b - (rounds ? 1 : 0) : a % b + (rounds ? b : 0);
    }
  }
  expect(!overflow, "a whole number beyond 64 bits is not supported");
  return result;
}

inline Value real_arithmetic(char sign, double a, double b) {
  switch (sign) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    default: {
      expect(b != 0, "division by zero");
      double rest = std::fmod(a, b);
      if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
      if (sign == '%') return rest != 0 ? rest : std::copysign(0.0, b);
      const double quotient = (a - rest) / b;
      if (quotient == 0) return std::copysign(0.0, a / b);
      const double floor = std::floor(quotient);
      return quotient - floor > 0.5 ? floor + 1 : floor;
    }
  }
}

inline Value power(const Value& a, const Value& b) {
  if (a.is_whole() && b.is_whole() && b.whole() >= 0) {
    Value result(1);
    expect(b.whole() <= 64 || (a.whole() >= -1 && a.whole() <= 1),
           "a whole number beyond 64 bits is not supported");
    const std::int64_t times = b.whole() <= 64 ? b.whole() : 64 + b.whole() % 2;
    for (std::int64_t i = 0; i < times; ++i)
      result = whole_arithmetic('*', result.whole(), a.whole());
    return result;
  }
  expect(a.real() != 0 || b.real() >= 0, "zero can't be raised to a negative power");
  expect(a.real() >= 0 || b.real() == std::floor(b.real()), "complex numbers are not supported");
  const double result = std::pow(a.real(), b.real());
  expect(!std::isinf(result) || std::isinf(a.real()) || std::isinf(b.real()),
         "the power is too large");
  return result;
}

/// What '+' with a text after `safe` makes of the other: HTML's signs are escaped.
inline Text escaped(const Text& text) {
  if (text.markup) return text;
  Text result;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text.bytes[at];
    const std::string_view sign = c == '&'    ? "&amp;"
                                  : c == '<'  ? "&lt;"
                                  : c == '>'  ? "&gt;"
                                  : c == '\'' ? "&#39;"
                                  : c == '"'  ? "&#34;"
                                              : std::string_view(text.bytes).substr(at, 1);
    result.append_as(sign, text, at);
  }
  return result;
}

inline Value repeat(const Value& value, std::int64_t times, Budget& budget) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(times, 0));
  if (value.is_text()) {
    const Text& text = value.text();
    expect(!text.markup, "'*' on a text after 'safe' is not supported");
    budget.spend_bytes(text.size(), count);
    Text result;
    for (std::size_t i = 0; i < count && !text.empty(); ++i) result += text;
    return result;
  }
  const List& list = value.list();
  expect(list.flavour == Flavour::list || list.flavour == Flavour::tuple, "can't multiply a ",
         value.type());
  budget.spend_items(list.items.size(), count);
  std::vector<Value> items;
  for (std::size_t i = 0; i < count && !list.items.empty(); ++i)
    items.insert(items.end(), list.items.begin(), list.items.end());
  return make_list(std::move(items), list.flavour);
}

}  // namespace detail

/// Python's `%` on a text. Throws Failure for what is not %s, %r, %d, %i or %%.
inline Text percent_format(const Text& form, const Value& values, Budget& budget) {
  const bool tuple = values.is(Kind::list) && values.list().flavour == Flavour::tuple;
  const std::vector<Value> all = tuple ? values.list().items : std::vector<Value>{values};
  Text result;
  std::size_t used = 0, at = 0;
  while (at < form.size()) {
    const std::size_t percent = form.bytes.find('%', at);
    if (percent == std::string::npos) break;
    result += form.slice(at, percent);
    const char type = percent + 1 < form.size() ? form.bytes[percent + 1] : '\0';
    at = percent + 2;
    if (type == '%') {
      result += Text("%");
      continue;
    }
    expect(type == 's' || type == 'r' || type == 'd' || type == 'i',
           "'%' formatting: expected "
           "%s, %r, %d or %%, found another");
    expect(used < all.size(), "'%' formatting: too few values");
    const Value& value = all[used++];
    if (type == 'd' || type == 'i') {
      expect(value.is_number(), "'%' formatting: %d of a ", value.type());
      result += value.is_whole() ? Text(std::to_string(value.whole()))
                                 : Text(std::to_string(static_cast<std::int64_t>(value.real())));
    } else {
      result += type == 's' ? str(value) : repr(value);
    }
    budget.spend_bytes(result.size());
  }
  if (at < form.size()) result += form.slice(at, form.size());
  expect(used == all.size() || (!tuple && (values.is(Kind::dict) || values.is(Kind::list))),
         "'%' formatting: too many values");
  return result;
}

/// a + b, a - b, a * b, a / b, a // b, a % b, a ** b
inline Value arithmetic(std::string_view sign, const Value& a, const Value& b, Budget& budget) {
  require_defined(a);
  if (sign == "%" && a.is_text()) {
    expect(!a.text().markup, "'%' on a text after 'safe' is not supported");
    return percent_format(a.text(), b, budget);
  }
  require_defined(b);
  if (a.is_number() && b.is_number()) {
    if (sign == "**") return detail::power(a, b);
    if (sign == "/") {
      expect(b.real() != 0, "division by zero");
      return a.real() / b.real();
    }
    if (a.is_whole() && b.is_whole())
      return detail::whole_arithmetic(sign[0], a.whole(), b.whole());
    return detail::real_arithmetic(sign[0], a.real(), b.real());
  }
  const auto sequence = [](const Value& v) { return v.is_text() || v.is(Kind::list); };
  if (sign == "*" && sequence(a) && b.is_whole()) return detail::repeat(a, b.whole(), budget);
  if (sign == "*" && sequence(b) && a.is_whole()) return detail::repeat(b, a.whole(), budget);
  if (sign == "+" && a.is_text() && b.is_text()) {
    budget.spend_bytes(a.text().size() + b.text().size());
    if (a.text().markup == b.text().markup) return a.text() + b.text();
    Text sum = detail::escaped(a.text());
    sum += detail::escaped(b.text());
    sum.markup = true;
    return sum;
  }
  if (sign == "+" && a.is(Kind::list) && b.is(Kind::list) && a.list().flavour == b.list().flavour &&
      (a.list().flavour == Flavour::list || a.list().flavour == Flavour::tuple)) {
    std::vector<Value> items = a.list().items;
    items.insert(items.end(), b.list().items.begin(), b.list().items.end());
    budget.spend_items(items.size());
    return make_list(std::move(items), a.list().flavour);
  }
  throw Failure(message("'", sign, "' of ", a.type(), " and ", b.type(), " is not possible"));
}

}  // namespace qlora::inline QLORA_ABI::jinja
