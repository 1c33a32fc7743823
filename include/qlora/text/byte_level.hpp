/// GPT-2's printable stand-ins for bytes: how a byte-level vocabulary is written as text.
///
///     qlora::text_detail::bytes_of_stand_ins("\u0120the");   // " the"
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI::text_detail {

/// The stand-ins as code points: printable Latin-1 stands for itself, the rest from 256 up.
inline std::array<std::uint32_t, 256> byte_code_points() {
  std::array<std::uint32_t, 256> points{};
  std::uint32_t next = 256;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    points[byte] = printable ? byte : next++;
  }
  return points;
}

/// The stand-ins as UTF-8, by byte.
inline std::array<std::string, 256> byte_stand_ins() {
  std::array<std::string, 256> texts;
  const auto points = byte_code_points();
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::uint32_t point = points[byte];
    if (point < 0x80) {
      texts[byte] = static_cast<char>(point);
    } else {
      texts[byte] = {static_cast<char>(0xc0 | (point >> 6)),
                     static_cast<char>(0x80 | (point & 0x3f))};
    }
  }
  return texts;
}

/// A vocabulary entry in stand-ins back to its bytes; nothing when it holds other characters, or
/// bytes that are not UTF-8.
inline std::optional<std::string> bytes_of_stand_ins(std::string_view text) {
  static const auto bytes = [] {
    std::unordered_map<std::uint32_t, char> map;
    const auto points = byte_code_points();
    for (std::uint32_t byte = 0; byte < 256; ++byte) map[points[byte]] = static_cast<char>(byte);
    return map;
  }();
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    std::uint32_t point = first;
    std::size_t length = 1;
    if (first >= 0x80) {
      // All stand-ins take two bytes at most, and the first of two is 0xc2 or more.
      if (first < 0xc2 || first >= 0xe0 || i + 1 >= text.size()) return std::nullopt;
      const auto second = static_cast<unsigned char>(text[i + 1]);
      if ((second & 0xc0u) != 0x80) return std::nullopt;
      point = ((first & 0x1fu) << 6) | (second & 0x3fu);
      length = 2;
    }
    const auto place = bytes.find(point);
    if (place == bytes.end()) return std::nullopt;
    result += place->second;
    i += length;
  }
  return result;
}

}  // namespace qlora::inline QLORA_ABI::text_detail
