/// Text that remembers where its parts came from, and what Python's strings need beside: characters
/// are code points of UTF-8, white space is Unicode's.
///
///     using qlora::jinja::Text;
///     Text answer = Text::from("Hello", 3);                   // all of it came from source 3
///     Text line = Text("assistant: ") + answer.slice(1, 5);   // line.spans: {11, 15, 3}
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/utf8.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// Bytes [begin, end) of a text came from the source `origin`. An empty span marks the place of an
/// empty text.
struct Span {
  std::size_t begin = 0, end = 0;
  int origin = 0;
};

/// The origin of what a `{% generation %}` block wrote; it lies over other spans.
inline constexpr int generation_origin = std::numeric_limits<int>::max();

/// A text and, for its parts, the origin each came from.
struct Text {
  std::string bytes;        ///< valid UTF-8
  std::vector<Span> spans;  ///< may overlap; what no span covers is the template's own
  bool markup = false;      ///< came through the filter `safe`

  Text() = default;
  Text(std::string text) : bytes(std::move(text)) {}  // NOLINT(google-explicit-constructor)
  Text(std::string_view text) : bytes(text) {}        // NOLINT(google-explicit-constructor)
  Text(const char* text) : bytes(text) {}             // NOLINT(google-explicit-constructor)

  /// A text that came from `origin` as a whole.
  static Text from(std::string text, int origin) {
    Text result(repair_utf8(text));
    result.spans.push_back({0, result.bytes.size(), origin});
    return result;
  }

  /// Bytes, and whether there are none.
  std::size_t size() const { return bytes.size(); }
  bool empty() const { return bytes.empty(); }

  Text& operator+=(const Text& other) {
    for (const Span& span : other.spans)
      mark(bytes.size() + span.begin, bytes.size() + span.end, span.origin);
    bytes += other.bytes;
    return *this;
  }
  friend Text operator+(Text left, const Text& right) {
    left += right;
    return left;
  }

  /// Bytes [begin, end) with what is known of them.
  Text slice(std::size_t begin, std::size_t end) const {
    Text part(bytes.substr(begin, end - begin));
    part.markup = markup;
    for (const Span& span : spans) {
      const std::size_t low = std::max(span.begin, begin), high = std::min(span.end, end);
      if (low < high || (low == high && (span.begin == span.end || begin == end)))
        part.mark(low - begin, high - begin, span.origin);
    }
    return part;
  }

  /// Adds `other` as part of what byte `at` of `source` became.
  void append_as(std::string_view other, const Text& source, std::size_t at) {
    for (const Span& span : source.spans)
      if (span.begin <= at && at < span.end)
        mark(bytes.size(), bytes.size() + other.size(), span.origin);
    bytes += other;
  }

  /// Says that bytes [begin, end) came from `origin`.
  void mark(std::size_t begin, std::size_t end, int origin) {
    if (!spans.empty() && spans.back().origin == origin && spans.back().end == begin) {
      spans.back().end = end;
    } else {
      spans.push_back({begin, end, origin});
    }
  }
};

/// The code point at a byte of valid UTF-8, and the bytes it takes.
struct Character {
  std::uint32_t point = 0;
  std::size_t length = 1;
};

/// The character that begins at byte `at` of valid UTF-8.
inline Character character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> std::uint32_t {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  const std::uint32_t first = byte(0);
  if (first < 0xc0) return {first, 1};
  if (first < 0xe0) return {(first & 0x1f) << 6 | (byte(1) & 0x3f), 2};
  if (first < 0xf0) return {(first & 0xf) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f), 3};
  return {(first & 7) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f), 4};
}

/// A code point in UTF-8.
inline std::string utf8_of(std::uint32_t point) {
  const auto byte = [](std::uint32_t value) { return static_cast<char>(value); };
  if (point < 0x80) return {byte(point)};
  if (point < 0x800) return {byte(0xc0 | point >> 6), byte(0x80 | (point & 0x3f))};
  if (point < 0x10000)
    return {byte(0xe0 | point >> 12), byte(0x80 | (point >> 6 & 0x3f)),
            byte(0x80 | (point & 0x3f))};
  return {byte(0xf0 | point >> 18), byte(0x80 | (point >> 12 & 0x3f)),
          byte(0x80 | (point >> 6 & 0x3f)), byte(0x80 | (point & 0x3f))};
}

/// Whether the byte is one of a character's later ones in UTF-8.
inline bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

/// How many characters a valid text has.
inline std::size_t character_count(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char byte) { return !is_continuation(byte); }));
}

/// Where character number `index` begins; the size of the text when there are fewer.
inline std::size_t byte_of_character(std::string_view text, std::size_t index) {
  std::size_t at = 0;
  for (; at < text.size() && index > 0; --index) at += character_at(text, at).length;
  return std::min(at, text.size());
}

/// Python's str.isspace of one character.
inline bool is_space(std::uint32_t point) {
  return (point >= 9 && point <= 13) || (point >= 28 && point <= 32) || point == 0x85 ||
         point == 0xa0 || point == 0x1680 || (point >= 0x2000 && point <= 0x200a) ||
         point == 0x2028 || point == 0x2029 || point == 0x202f || point == 0x205f ||
         point == 0x3000;
}

/// Python's line ends in str.splitlines.
inline bool ends_line(std::uint32_t point) {
  return (point >= 10 && point <= 13) || (point >= 28 && point <= 30) || point == 0x85 ||
         point == 0x2028 || point == 0x2029;
}

/// The text without white space, or without characters of `set`, at either end.
inline std::pair<std::size_t, std::size_t> stripped(std::string_view text,
                                                    const std::string_view* set, bool left,
                                                    bool right) {
  const auto goes = [&](std::size_t at) {
    const Character c = character_at(text, at);
    if (set == nullptr) return is_space(c.point);
    for (std::size_t i = 0; i < set->size(); i += character_at(*set, i).length)
      if (character_at(*set, i).point == c.point) return true;
    return false;
  };
  std::size_t begin = 0, end = text.size();
  while (left && begin < end && goes(begin)) begin += character_at(text, begin).length;
  while (right && end > begin) {
    std::size_t at = end - 1;
    while (at > begin && is_continuation(text[at])) --at;
    if (!goes(at)) break;
    end = at;
  }
  return {begin, end};
}

}  // namespace qlora::inline QLORA_ABI::jinja
