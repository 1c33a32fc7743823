/// What filters and methods do to a text. Letters change case within ASCII; text with other letters
/// that have case is refused.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/arguments.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// Whether the byte is a letter of ASCII.
inline bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
/// The capital of a small letter of ASCII; other bytes stay as they are.
inline char upper_letter(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
/// The small letter of a capital of ASCII; other bytes stay as they are.
inline char lower_letter(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

/// Throws Failure for a text with letters beyond ASCII that have case.
inline void require_simple_case(std::string_view text, std::string_view function) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return !(c & 0x80); })) return;
  static thread_local const Regex cased(
      R"((?=[^\x00-\x7f])[\p{L&}\x{2160}-\x{217f}\x{24b6}-\x{24e9}])");
  if (const auto found = cased.find(text))
    throw Failure(message("'", function, "' of the letter '", (*found)[0], "' is not supported"));
}

/// The text with each byte of ASCII as `change(byte, previous)` has it.
template <class Change>
Text changed_case(Text text, std::string_view function, Change change) {
  require_simple_case(text.bytes, function);
  char previous = '\0';
  for (char& byte : text.bytes) {
    const char original = byte;
    byte = change(byte, previous);
    previous = original;
  }
  return text;
}
/// Python's str.upper, of texts that require_simple_case takes; so are the next ones.
inline Text upper(Text text) {
  return changed_case(std::move(text), "upper", [](char c, char) { return upper_letter(c); });
}
/// Python's str.lower.
inline Text lower(Text text) {
  return changed_case(std::move(text), "lower", [](char c, char) { return lower_letter(c); });
}
/// Python's str.capitalize.
inline Text capitalize(Text text) {
  return changed_case(std::move(text), "capitalize", [first = true](char c, char) mutable {
    return std::exchange(first, false) ? upper_letter(c) : lower_letter(c);
  });
}
/// The method: words are what letters make. The filter: words begin after - ( { [ < and space.
inline Text title(Text text, bool filter) {
  return changed_case(std::move(text), "title", [filter](char c, char previous) {
    const bool begins =
        filter ? previous == '\0' ||
                     std::string_view("-({[< \t\n\r\v\f").find(previous) != std::string_view::npos
               : !is_letter(previous);
    return begins ? upper_letter(c) : lower_letter(c);
  });
}

/// Python's strip, lstrip and rstrip: removes white space, or the characters of the first argument.
inline Text strip(const Text& text, const Given& given, bool left, bool right) {
  if (!given.has_value(0)) {
    const auto [begin, end] = stripped(text.bytes, nullptr, left, right);
    return text.slice(begin, end);
  }
  const std::string_view set = given.text(0).bytes;
  const auto [begin, end] = stripped(text.bytes, &set, left, right);
  return text.slice(begin, end);
}

/// str.replace; `count` < 0: all.
inline Text replace(const Text& text, const Text& old, const Text& with, std::int64_t count,
                    Budget& budget) {
  Text result;
  std::size_t at = 0;
  while (count != 0) {
    std::size_t found = at, next = at;
    if (old.empty()) {
      // Between all characters, before the first and after the last.
      result += with;
      if (at >= text.size()) break;
      next = at + character_at(text.bytes, at).length;
      result += text.slice(at, next);
    } else {
      found = text.bytes.find(old.bytes, at);
      if (found == std::string::npos) break;
      result += text.slice(at, found);
      result += with;
      next = found + old.size();
    }
    budget.spend_bytes(result.size(), 1);
    at = next;
    --count;
  }
  if (at < text.size() || text.empty()) result += text.slice(at, text.size());
  return result;
}

/// str.split and str.rsplit; `most` < 0: all.
inline std::vector<Value> split(const Text& text, const Text* separator, std::int64_t most,
                                bool from_right) {
  expect(separator == nullptr || !separator->empty(), "empty separator");
  std::vector<std::pair<std::size_t, std::size_t>> gaps;
  const std::string& bytes = text.bytes;
  if (separator != nullptr && !from_right) {
    for (std::size_t at = 0; (at = bytes.find(separator->bytes, at)) != std::string::npos;
         at += separator->size())
      gaps.emplace_back(at, at + separator->size());
  } else if (separator != nullptr) {
    std::size_t end = bytes.size();
    while (end >= separator->size()) {
      const std::size_t at = bytes.rfind(separator->bytes, end - separator->size());
      if (at == std::string::npos) break;
      gaps.insert(gaps.begin(), {at, at + separator->size()});
      end = at;
    }
  } else {
    for (std::size_t at = 0; at < bytes.size();) {
      const Character c = character_at(bytes, at);
      if (is_space(c.point)) {
        if (gaps.empty() || gaps.back().second != at) gaps.emplace_back(at, at);
        gaps.back().second = at + c.length;
      }
      at += c.length;
    }
  }
  std::size_t begin = 0, end = bytes.size();
  if (separator == nullptr) {
    // White space at the ends goes, but for what is left after `most` splits.
    const auto too_many = [&] {
      return most >= 0 && static_cast<std::int64_t>(gaps.size()) > most;
    };
    const auto drop_first = [&] {
      if (gaps.empty() || gaps.front().first != 0) return;
      if (!from_right || !too_many()) begin = gaps.front().second;
      gaps.erase(gaps.begin());
    };
    const auto drop_last = [&] {
      if (gaps.empty() || gaps.back().second != end) return;
      if (from_right || !too_many()) end = gaps.back().first;
      gaps.pop_back();
    };
    if (stripped(bytes, nullptr, true, false).first == bytes.size()) return {};
    if (from_right) drop_last();
    drop_first();
    if (!from_right) drop_last();
  }
  if (most >= 0 && static_cast<std::int64_t>(gaps.size()) > most) {
    if (from_right) {
      gaps.erase(gaps.begin(), gaps.end() - most);
    } else {
      gaps.resize(static_cast<std::size_t>(most));
    }
  }
  std::vector<Value> parts;
  for (const auto& [gap, after] : gaps) {
    parts.emplace_back(text.slice(begin, gap));
    begin = after;
  }
  parts.emplace_back(text.slice(begin, end));
  return parts;
}

/// Python's str.splitlines.
inline std::vector<Text> split_lines(const Text& text, bool keep_ends) {
  std::vector<Text> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text.bytes, at);
    std::size_t next = at + c.length;
    if (ends_line(c.point)) {
      if (c.point == '\r' && next < text.size() && text.bytes[next] == '\n') ++next;
      lines.push_back(text.slice(begin, keep_ends ? next : at));
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) lines.push_back(text.slice(begin, text.size()));
  return lines;
}

/// The items as texts, with `between` between them. Throws Failure beyond the budget.
inline Text join(const std::vector<Value>& items, const Text& between, Budget& budget) {
  Text result;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) result += between;
    const Text text = str(items[i]);
    budget.spend_bytes(result.size() + text.size(), 1);
    result += text;
  }
  return result;
}

/// str.format with {}, {0} and {name}; other fields are refused.
inline Text brace_format(const Text& form, const Arguments& arguments, Budget& budget) {
  Text result;
  std::size_t next = 0;
  const std::string& bytes = form.bytes;
  for (std::size_t at = 0; at < bytes.size();) {
    if ((bytes[at] == '{' || bytes[at] == '}') && at + 1 < bytes.size() &&
        bytes[at + 1] == bytes[at]) {
      result += form.slice(at, at + 1);
      at += 2;
      continue;
    }
    expect(bytes[at] != '}', "format: a single '}'");
    if (bytes[at] != '{') {
      const std::size_t end = std::min(bytes.find_first_of("{}", at), bytes.size());
      result += form.slice(at, end);
      at = end;
      continue;
    }
    const std::size_t end = bytes.find('}', at);
    expect(end != std::string::npos, "format: a single '{'");
    const std::string field = bytes.substr(at + 1, end - at - 1);
    const bool plain = std::all_of(field.begin(), field.end(), [](char c) {
      return is_letter(c) || c == '_' || (c >= '0' && c <= '9');
    });
    expect(plain, "format: the field '{", field, "}' is not supported");
    const Value* value = nullptr;
    if (field.empty() || (field[0] >= '0' && field[0] <= '9')) {
      expect(field.size() < 6, "format: the field '{", field, "}' is not supported");
      const std::size_t index = field.empty() ? next++ : std::stoul(field);
      expect(index < arguments.positional.size(), "format: too few values");
      value = &arguments.positional[index];
    } else {
      for (const auto& [name, named] : arguments.named)
        if (name == field) value = &named;
      expect(value != nullptr, "format: no value named '", field, "'");
    }
    result += str(*value);
    budget.spend_bytes(result.size(), 1);
    at = end + 1;
  }
  return result;
}

}  // namespace qlora::inline QLORA_ABI::jinja
