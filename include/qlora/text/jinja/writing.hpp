/// Values as text: Python's str and repr, and json.dumps without ASCII escapes. What is known of
/// where parts came from is kept.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/value.hpp"
#include "qlora/text/regex.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// Python's repr of a float: the shortest digits that give it back.
inline std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific)
                       .ptr;
  std::string text(buffer.data(), end);
  const std::string sign = text[0] == '-' ? "-" : "";
  if (!sign.empty()) text.erase(0, 1);
  const std::size_t e = text.find('e');
  const int power = std::atoi(text.c_str() + e + 1);
  std::string digits = text.substr(0, 1);
  if (e > 2) digits += text.substr(2, e - 2);
  const auto count = static_cast<int>(digits.size());
  if (power < -4 || power >= 16) {
    std::string result = sign + digits.substr(0, 1);
    if (count > 1) result += "." + digits.substr(1);
    const std::string exponent = std::to_string(std::abs(power));
    return result + (power < 0 ? "e-" : "e+") + (exponent.size() < 2 ? "0" : "") + exponent;
  }
  if (power < 0)
    return sign + "0." + std::string(static_cast<std::size_t>(-power - 1), '0') + digits;
  if (count <= power + 1)
    return sign + digits + std::string(static_cast<std::size_t>(power + 1 - count), '0') + ".0";
  return sign + digits.substr(0, static_cast<std::size_t>(power + 1)) + "." +
         digits.substr(static_cast<std::size_t>(power + 1));
}

/// Python's str.isprintable of one character beyond ASCII.
inline bool is_printable(std::string_view character) {
  static thread_local const Regex hidden(R"([\p{C}\p{Z}])");
  return !hidden.find(character).has_value();
}

/// Python's repr of a text.
inline Text text_repr(const Text& text) {
  const bool has_single = text.bytes.find('\'') != std::string::npos;
  const char quote = has_single && text.bytes.find('"') == std::string::npos ? '"' : '\'';
  Text result(std::string(1, quote));
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text.bytes, at);
    std::string shown = text.bytes.substr(at, c.length);
    std::array<char, 16> escape{};
    if (shown[0] == quote || c.point == '\\') {
      shown.insert(0, "\\");
    } else if (c.point == '\n' || c.point == '\r' || c.point == '\t') {
      shown = c.point == '\n' ? "\\n" : c.point == '\r' ? "\\r" : "\\t";
    } else if (c.point < 32 || c.point == 127 || (c.point > 127 && !is_printable(shown))) {
      const char* form = c.point < 0x100 ? "\\x%02x" : c.point < 0x10000 ? "\\u%04x" : "\\U%08x";
      std::snprintf(escape.data(), escape.size(), form, c.point);
      shown = escape.data();
    }
    result.append_as(shown, text, at);
    at += c.length;
  }
  result += Text(std::string(1, quote));
  return result;
}

/// The value as Python's repr writes it.
inline Text repr(const Value& value);

namespace detail {
inline void append_items(Text& result, const std::vector<Value>& items) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) result += Text(", ");
    result += repr(items[i]);
  }
}
}  // namespace detail

/// Python's repr. Throws Failure for a value whose repr has no use in a prompt.
inline Text repr(const Value& value) {
  switch (value.kind()) {
    case Kind::none:
      return "None";
    case Kind::undefined:
      return "Undefined";
    case Kind::boolean:
      return value.boolean() ? "True" : "False";
    case Kind::integer:
      return std::to_string(value.whole());
    case Kind::real:
      return float_repr(value.real());
    case Kind::text:
      expect(!value.text().markup, "the representation of a text after 'safe' is not supported");
      return text_repr(value.text());
    case Kind::dict: {
      Text result("{");
      const auto& entries = value.dict().entries;
      for (std::size_t i = 0; i < entries.size(); ++i) {
        if (i > 0) result += Text(", ");
        result += repr(entries[i].first);
        result += Text(": ");
        result += repr(entries[i].second);
      }
      return result + Text("}");
    }
    case Kind::list: {
      const List& list = value.list();
      expect(list.flavour != Flavour::range && list.flavour != Flavour::iterator, "writing a ",
             value.type(), " as text is not supported");
      const bool tuple = list.flavour == Flavour::tuple;
      Text result(tuple ? "(" : list.flavour == Flavour::list ? "[" : value.type() + "([");
      detail::append_items(result, list.items);
      if (tuple && list.items.size() == 1) result += Text(",");
      return result + Text(tuple ? ")" : list.flavour == Flavour::list ? "]" : "])");
    }
    default:
      throw Failure(message("writing a ", value.type(), " as text is not supported"));
  }
}

/// Python's str; an undefined value is empty.
inline Text str(const Value& value) {
  if (value.is_text()) return value.text();
  if (value.is(Kind::undefined)) return Text();
  return repr(value);
}

/// How json.dumps writes.
struct JsonStyle {
  std::string item_separator = ", ", key_separator = ": ";
  std::optional<std::string> indent;
  bool ascii = false, sorts = false;
};

namespace detail {

inline void json_text(Text& result, const Text& text, bool ascii) {
  result += Text("\"");
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text.bytes, at);
    std::string shown = text.bytes.substr(at, c.length);
    const auto hex = [](std::uint32_t unit) {
      std::array<char, 16> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", unit);
      return std::string(escape.data());
    };
    static constexpr std::string_view named = "\"\\\n\r\t\b\f";
    static constexpr std::string_view letters = "\"\\nrtbf";
    if (const auto place = named.find(shown[0]); place != std::string_view::npos) {
      shown = std::string("\\") + letters[place];
    } else if (c.point < 32 || (ascii && c.point > 126 && c.point < 0x10000 && c.point != 127)) {
      shown = hex(c.point);
    } else if (ascii && c.point >= 0x10000) {
      const std::uint32_t rest = c.point - 0x10000;
      shown = hex(0xd800 + (rest >> 10)) + hex(0xdc00 + (rest & 0x3ff));
    }
    result.append_as(shown, text, at);
    at += c.length;
  }
  result += Text("\"");
}

inline void json_scalar(Text& result, const Value& value, bool ascii) {
  switch (value.kind()) {
    case Kind::none:
      result += Text("null");
      return;
    case Kind::boolean:
      result += Text(value.boolean() ? "true" : "false");
      return;
    case Kind::integer:
      result += Text(std::to_string(value.whole()));
      return;
    case Kind::real: {
      const double number = value.real();
      result += Text(std::isnan(number)   ? "NaN"
                     : std::isinf(number) ? (number < 0 ? "-Infinity" : "Infinity")
                                          : float_repr(number));
      return;
    }
    case Kind::text:
      json_text(result, value.text(), ascii);
      return;
    default:
      throw Failure(message("a value of type ", value.type(), " can't be written as JSON"));
  }
}

inline void json_value(Text& result, const Value& value, const JsonStyle& style, int depth);

/// The items of a list or dictionary between brackets, each written by `write(i)`.
template <class Write>
void json_items(Text& result, std::size_t count, std::string_view brackets, const JsonStyle& style,
                int depth, Write write) {
  const auto newline = [&](int level) {
    if (!style.indent) return;
    std::string text = "\n";
    for (int i = 0; i < level; ++i) text += *style.indent;
    result += Text(text);
  };
  result += Text(brackets.substr(0, 1));
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) result += Text(style.item_separator);
    newline(depth + 1);
    write(i);
  }
  if (count > 0) newline(depth);
  result += Text(brackets.substr(1));
}

inline void json_value(Text& result, const Value& value, const JsonStyle& style, int depth) {
  if (value.is(Kind::dict)) {
    std::vector<std::pair<Value, Value>> entries = value.dict().entries;
    if (style.sorts) {
      for (const auto& entry : entries)
        expect(entry.first.is_text(), "sorting keys that are not texts is not supported");
      std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
        return a.first.text().bytes < b.first.text().bytes;
      });
    }
    json_items(result, entries.size(), "{}", style, depth, [&](std::size_t i) {
      if (entries[i].first.is_text()) {
        json_text(result, entries[i].first.text(), style.ascii);
      } else {
        result += Text("\"");
        json_scalar(result, entries[i].first, style.ascii);
        result += Text("\"");
      }
      result += Text(style.key_separator);
      json_value(result, entries[i].second, style, depth + 1);
    });
  } else if (value.is(Kind::list) &&
             (value.list().flavour == Flavour::list || value.list().flavour == Flavour::tuple)) {
    const auto& items = value.list().items;
    json_items(result, items.size(), "[]", style, depth,
               [&](std::size_t i) { json_value(result, items[i], style, depth + 1); });
  } else {
    json_scalar(result, value, style.ascii);
  }
}

}  // namespace detail

/// json.dumps of a value. Throws Failure for what JSON can't hold.
inline Text to_json(const Value& value, const JsonStyle& style = {}) {
  Text result;
  detail::json_value(result, value, style, 0);
  return result;
}

}  // namespace qlora::inline QLORA_ABI::jinja
