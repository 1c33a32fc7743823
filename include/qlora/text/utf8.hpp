/// UTF-8: repair of invalid bytes as Python's errors='replace' does it, and where a text may be
/// cut.
///
///     qlora::repair_utf8("a\xff");   // "a\xef\xbf\xbd": one U+FFFD per maximal invalid part
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

namespace text_detail {

/// A sequence at the start of the text: its length, whether it is whole, and whether more bytes
/// could make it whole.
struct Utf8Step {
  std::size_t length = 1;
  bool valid = false;
  bool unfinished = false;
};

/// Table 3-7 of the Unicode standard: the range of the second byte depends on the first.
inline Utf8Step utf8_step(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return {1, true, false};
  if (first < 0xc2 || first > 0xf4) return {1, false, false};
  const std::size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  unsigned low = 0x80, high = 0xbf;
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {i, false, true};
    if (byte(i) < low || byte(i) > high) return {i, false, false};
    low = 0x80;
    high = 0xbf;
  }
  return {length, true, false};
}

}  // namespace text_detail

/// Replaces every maximal invalid part of the text by U+FFFD.
inline std::string repair_utf8(std::string_view text) {
  std::string repaired;
  while (!text.empty()) {
    const auto step = text_detail::utf8_step(text);
    repaired += step.valid ? text.substr(0, step.length) : std::string_view("\xef\xbf\xbd");
    text.remove_prefix(step.length);
  }
  return repaired;
}

/// How many bytes at the start form whole characters or can never become one. A stream may print
/// these before the rest of the last character arrives.
inline std::size_t utf8_complete_prefix(std::string_view text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const auto step = text_detail::utf8_step(text.substr(done));
    if (step.unfinished) break;
    done += step.length;
  }
  return done;
}

}  // namespace qlora::inline QLORA_ABI
