/// Text and JSON files, read whole; errors name the file and the place.
///
///     nlohmann::json config = qlora::read_json_file("adapter_config.json");
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// Reads a whole file as text. Throws IoError.
inline std::string read_text_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  require<IoError>(stream.good() && !std::filesystem::is_directory(path), path.string(),
                   ": can't open the file");
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// Text as JSON. `where` names it in messages. Throws FormatError with the place, also for a key
/// that comes twice in one object (a parser would keep either).
inline nlohmann::json parse_json(const std::string& where, std::string_view text) {
  std::vector<std::set<std::string>> open;
  const auto callback = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) open.emplace_back();
    if (event == Event::object_end) open.pop_back();
    if (event == Event::key)
      require<FormatError>(open.back().insert(value.get<std::string>()).second, where,
                           ": the name '", value.get<std::string>(), "' comes twice");
    return true;
  };
  try {
    return nlohmann::json::parse(text, callback);
  } catch (const nlohmann::json::exception& failure) {
    throw FormatError(message(where, ": ", failure.what()));
  }
}

/// Reads a JSON number as a size. `where` names it in messages. Throws FormatError for one that is
/// negative, broken or too large.
inline Index whole_number(const nlohmann::json& value, const std::string& where) {
  const bool whole = value.is_number_unsigned() || value.is_number_integer();
  const bool fits = whole && (value.is_number_unsigned()
                                  ? value.get<std::uint64_t>() <= std::uint64_t{0x7fffffffffffffff}
                                  : value.get<std::int64_t>() >= 0);
  require<FormatError>(fits, where, ": expected a whole number of 0 or more, found ", value.dump());
  return value.get<Index>();
}

/// Reads a list of whole numbers, each as whole_number does.
inline std::vector<Index> whole_numbers(const nlohmann::json& values, const std::string& where) {
  require<FormatError>(values.is_array(), where, ": expected a list of whole numbers, found ",
                       values.type_name());
  std::vector<Index> numbers;
  numbers.reserve(values.size());
  for (const auto& value : values) numbers.push_back(whole_number(value, where));
  return numbers;
}

/// Reads a JSON file. Throws IoError, or FormatError with the place.
inline nlohmann::json read_json_file(const std::filesystem::path& path) {
  return parse_json(path.string(), read_text_file(path));
}

/// Calls body(number, line) for the lines of a text that are not blank; numbers count from 1.
template <class Body>
void for_each_line(std::string_view text, Body body) {
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    ++number;
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) body(number, line);
  }
}

}  // namespace qlora::inline QLORA_ABI
