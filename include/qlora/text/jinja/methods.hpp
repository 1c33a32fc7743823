/// Methods of Python's types. Those that change a list or a dictionary do not exist in Jinja's
/// immutable sandbox; others that are not here are refused by name when they are called.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/text_functions.hpp"

namespace qlora::inline QLORA_ABI::jinja {

namespace detail {

template <std::size_t N>
bool is_among(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

inline constexpr std::array<std::string_view, 47> text_methods = {
    "capitalize",   "casefold",    "center",    "count",      "encode",       "endswith",
    "expandtabs",   "find",        "format",    "format_map", "index",        "isalnum",
    "isalpha",      "isascii",     "isdecimal", "isdigit",    "isidentifier", "islower",
    "isnumeric",    "isprintable", "isspace",   "istitle",    "isupper",      "join",
    "ljust",        "lower",       "lstrip",    "maketrans",  "partition",    "removeprefix",
    "removesuffix", "replace",     "rfind",     "rindex",     "rjust",        "rpartition",
    "rsplit",       "rstrip",      "split",     "splitlines", "startswith",   "strip",
    "swapcase",     "title",       "translate", "upper",      "zfill"};
inline constexpr std::array<std::string_view, 3> list_methods = {"copy", "count", "index"};
inline constexpr std::array<std::string_view, 8> changing_list_methods = {
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"};
inline constexpr std::array<std::string_view, 6> dict_methods = {"copy",  "fromkeys", "get",
                                                                 "items", "keys",     "values"};
inline constexpr std::array<std::string_view, 5> changing_dict_methods = {"clear", "pop", "popitem",
                                                                          "setdefault", "update"};
inline constexpr std::array<std::string_view, 13> number_attributes = {
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator",
    "from_bytes",       "fromhex",   "hex",        "imag",      "is_integer",
    "numerator",        "real",      "to_bytes"};

}  // namespace detail

/// The method `name` of a value, an undefined value that says why for one the sandbox forbids, or
/// nothing when Python's type has no attribute of that name.
inline std::optional<Value> find_method(const Value& self, std::string_view name) {
  bool known = false, forbidden = false;
  switch (self.kind()) {
    case Kind::text:
      known = detail::is_among(detail::text_methods, name);
      break;
    case Kind::list:
      if (self.list().flavour == Flavour::list || self.list().flavour == Flavour::tuple) {
        const bool list = self.list().flavour == Flavour::list;
        known = detail::is_among(detail::list_methods, name) && (list || name != "copy");
        forbidden = list && detail::is_among(detail::changing_list_methods, name);
      }
      break;
    case Kind::dict:
      known = detail::is_among(detail::dict_methods, name);
      forbidden = detail::is_among(detail::changing_dict_methods, name);
      break;
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
      expect(!detail::is_among(detail::number_attributes, name), "the attribute '", name,
             "' of a number is not supported");
      break;
    default:
      break;
  }
  if (forbidden)
    return Value::undefined(
        message("the method '", name, "' changes a ", self.type(), " and is not allowed"));
  if (!known) return std::nullopt;
  auto method = std::make_shared<Callable>();
  method->type = Callable::Type::method;
  method->name = name;
  method->self = self;
  return Value(std::shared_ptr<const Callable>(std::move(method)));
}

namespace detail {

/// str.startswith and str.endswith: a text or a tuple of texts.
inline bool begins_or_ends(const Text& text, const Given& given, bool ends) {
  expect(!given.has(1) && !given.has(2), "a range in startswith and endswith is not supported");
  const auto matches = [&](const Value& affix) {
    require_defined(affix);
    expect(affix.is_text(), "expected a text, found ", affix.type());
    const std::string& bytes = affix.text().bytes;
    return ends ? text.bytes.ends_with(bytes) : text.bytes.starts_with(bytes);
  };
  const Value& affix = given.value(0);
  if (!affix.is(Kind::list) || affix.list().flavour != Flavour::tuple) return matches(affix);
  const auto& all = affix.list().items;
  return std::any_of(all.begin(), all.end(), matches);
}

/// str.find, rfind, index and rindex, as a number of characters.
inline Value find_in(const Text& text, const Given& given, bool last, bool must) {
  expect(!given.has(1) && !given.has(2), "a range in find and index is not supported");
  const std::string& part = given.text(0).bytes;
  const std::size_t at = last ? text.bytes.rfind(part) : text.bytes.find(part);
  expect(at != std::string::npos || !must, "substring not found");
  if (at == std::string::npos) return -1;
  return Value::number(character_count(std::string_view(text.bytes).substr(0, at)));
}

inline Value count_of(const Text& text, const Given& given) {
  expect(!given.has(1) && !given.has(2), "a range in count is not supported");
  const std::string& part = given.text(0).bytes;
  if (part.empty()) return Value::number(character_count(text.bytes) + 1);
  std::int64_t count = 0;
  for (std::size_t at = 0; (at = text.bytes.find(part, at)) != std::string::npos; at += part.size())
    ++count;
  return count;
}

inline Value partition(const Text& text, const Text& separator, bool last) {
  expect(!separator.empty(), "empty separator");
  const std::size_t at =
      last ? text.bytes.rfind(separator.bytes) : text.bytes.find(separator.bytes);
  if (at == std::string::npos)
    return last ? Value::tuple({Text(), Text(), text}) : Value::tuple({text, Text(), Text()});
  const std::size_t end = at + separator.size();
  return Value::tuple({text.slice(0, at), text.slice(at, end), text.slice(end, text.size())});
}

/// str.isdigit and its like, of ASCII.
template <class Holds>
bool all_bytes(const Text& text, std::string_view method, Holds holds) {
  const std::string& bytes = text.bytes;
  expect(std::all_of(bytes.begin(), bytes.end(), [](char c) { return !(c & 0x80); }), "'", method,
         "' of text beyond ASCII is not supported");
  return !bytes.empty() && std::all_of(bytes.begin(), bytes.end(), holds);
}

/// str.ljust, rjust and center.
inline Text padded(const Text& text, std::int64_t width, const Text& fill, std::string_view method,
                   Budget& budget) {
  expect(character_count(fill.bytes) == 1, "'", method, "': expected one character to fill with");
  const auto size = static_cast<std::int64_t>(character_count(text.bytes));
  if (width <= size) return text;
  const std::int64_t room = width - size;
  budget.spend_bytes(fill.size(), static_cast<std::size_t>(room));
  std::int64_t left = method == "rjust" ? room : 0;
  if (method == "center") left = room / 2 + (room & width & 1);
  Text result;
  for (std::int64_t i = 0; i < left; ++i) result += fill;
  result += text;
  for (std::int64_t i = left; i < room; ++i) result += fill;
  return result;
}

inline Value lines_of(const Text& text, bool keep_ends) {
  std::vector<Value> lines;
  for (Text& line : split_lines(text, keep_ends)) lines.emplace_back(std::move(line));
  return Value::list(std::move(lines));
}

inline Value call_text_method(Machine& machine, const Text& self, const std::string& name,
                              const Arguments& arguments) {
  Budget& budget = machine.budget();
  budget.spend_bytes(self.size());
  const auto given = [&](std::initializer_list<std::string_view> parameters) {
    return Given(arguments, name, parameters);
  };
  expect(!self.markup, "the method '", name, "' of a text after 'safe' is not supported");
  if (name == "strip") return strip(self, given({"chars"}), true, true);
  if (name == "lstrip") return strip(self, given({"chars"}), true, false);
  if (name == "rstrip") return strip(self, given({"chars"}), false, true);
  if (name == "split" || name == "rsplit") {
    const Given g = given({"sep", "maxsplit"});
    const Text* separator = g.has_value(0) ? &g.text(0) : nullptr;
    std::vector<Value> parts = split(self, separator, g.whole(1, -1), name == "rsplit");
    budget.spend_items(parts.size());
    return Value::list(std::move(parts));
  }
  if (name == "startswith" || name == "endswith")
    return begins_or_ends(self, given({"prefix", "start", "end"}), name == "endswith");
  if (name == "replace") {
    const Given g = given({"old", "new", "count"});
    return replace(self, g.text(0), g.text(1), g.whole(2, -1), budget);
  }
  if (name == "upper") return (void)given({}), upper(self);
  if (name == "lower") return (void)given({}), lower(self);
  if (name == "capitalize") return (void)given({}), capitalize(self);
  if (name == "title") return (void)given({}), title(self, false);
  if (name == "join") {
    const std::vector<Value> items = items_of(given({"iterable"}).value(0));
    for (const Value& item : items)
      expect(item.is_text(), "join: expected texts, found ", item.type());
    return join(items, self, budget);
  }
  if (name == "format") return brace_format(self, arguments, budget);
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex")
    return find_in(self, given({"sub", "start", "end"}), name[0] == 'r', name.ends_with("index"));
  if (name == "count") return count_of(self, given({"sub", "start", "end"}));
  if (name == "splitlines") return lines_of(self, given({"keepends"}).flag(0, false));
  if (name == "partition" || name == "rpartition")
    return partition(self, given({"sep"}).text(0), name == "rpartition");
  if (name == "removeprefix" || name == "removesuffix") {
    const Given g = given({"affix"});
    const std::string& affix = g.text(0).bytes;
    if (name == "removeprefix")
      return self.bytes.starts_with(affix) ? self.slice(affix.size(), self.size()) : self;
    return self.bytes.ends_with(affix) ? self.slice(0, self.size() - affix.size()) : self;
  }
  if (name == "ljust" || name == "rjust" || name == "center") {
    const Given g = given({"width", "fillchar"});
    return padded(self, g.value(0).is_whole() ? g.whole(0, 0) : 0, g.has(1) ? g.text(1) : Text(" "),
                  name, budget);
  }
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (name == "isdigit" || name == "isdecimal" || name == "isnumeric")
    return (void)given({}), all_bytes(self, name, digit);
  if (name == "isalpha") return (void)given({}), all_bytes(self, name, is_letter);
  if (name == "isalnum")
    return (void)given({}), all_bytes(self, name, [&](char c) { return digit(c) || is_letter(c); });
  if (name == "isspace")
    return (void)given({}),
           all_bytes(self, name, [](char c) { return is_space(static_cast<unsigned char>(c)); });
  if (name == "isupper" || name == "islower") {
    (void)given({});
    const bool wants_upper = name == "isupper";
    (void)all_bytes(self, name, is_letter);
    bool any = false, all = true;
    for (const char c : self.bytes)
      if (is_letter(c)) {
        any = true;
        all = all && (upper_letter(c) == c) == wants_upper;
      }
    return any && all;
  }
  throw Failure(message("the method '", name, "' of a text is not supported"));
}

inline Value call_list_method(const List& self, const std::string& name,
                              const Arguments& arguments) {
  if (name == "copy") return (void)Given(arguments, name, {}), Value::list(self.items);
  const Given given(arguments, name, {"value"});
  const Value& value = given.value(0);
  std::int64_t count = 0;
  for (std::size_t i = 0; i < self.items.size(); ++i)
    if (equal(self.items[i], value)) {
      if (name == "index") return Value::number(i);
      ++count;
    }
  expect(name != "index", "index: the value is not in the list");
  return count;
}

inline Value view_of(const Dict& self, Flavour flavour) {
  std::vector<Value> items;
  for (const auto& [key, value] : self.entries)
    items.push_back(flavour == Flavour::keys     ? key
                    : flavour == Flavour::values ? value
                                                 : Value::tuple({key, value}));
  return make_list(std::move(items), flavour);
}

inline Value call_dict_method(const Value& self, const std::string& name,
                              const Arguments& arguments) {
  const Dict& dict = self.dict();
  if (name == "get") {
    expect(arguments.named.empty(), "'get' takes no named arguments");
    const Given given(arguments, name, {"key", "default"});
    const Value* found = dict.find(given.value(0));
    if (found != nullptr) return *found;
    return given.has(1) ? given.value(1) : Value(None{});
  }
  if (name == "items") return (void)Given(arguments, name, {}), view_of(dict, Flavour::items);
  if (name == "keys") return (void)Given(arguments, name, {}), view_of(dict, Flavour::keys);
  if (name == "values") return (void)Given(arguments, name, {}), view_of(dict, Flavour::values);
  if (name == "copy") return (void)Given(arguments, name, {}), self;
  throw Failure(message("the method '", name, "' of a dict is not supported"));
}

}  // namespace detail

/// Calls a method that find_method found.
inline Value call_method(Machine& machine, const Callable& method, const Arguments& arguments) {
  const Value& self = method.self;
  if (self.is_text()) return detail::call_text_method(machine, self.text(), method.name, arguments);
  machine.budget().spend_items(self.is(Kind::dict) ? self.dict().entries.size()
                                                   : self.list().items.size());
  if (self.is(Kind::dict)) return detail::call_dict_method(self, method.name, arguments);
  return detail::call_list_method(self.list(), method.name, arguments);
}

}  // namespace qlora::inline QLORA_ABI::jinja
