/// Files of training data as text, and as JSON objects with the lines they stand on. What a file is
/// is told by its content; archives, tables and other encodings are refused by name.
///
///     std::string text = qlora::read_data_text("train.jsonl");
///     for (const auto& row : qlora::json_rows("train.jsonl", text)) row.line, row.value;
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/text/utf8.hpp"

namespace qlora::inline QLORA_ABI {

namespace text_detail {

/// What a file's first bytes say that it is; empty where nothing is known of them.
inline std::string_view container_of(std::string_view bytes) {
  using namespace std::string_view_literals;
  constexpr std::array<std::pair<std::string_view, std::string_view>, 17> known{{
      {"\x1f\x8b"sv, "gzip"},
      {"PK\x03\x04"sv, "a zip archive"},
      {"PAR1"sv, "Parquet"},
      {"ARROW1"sv, "Arrow"},
      {"\xff\xff\xff\xff"sv, "Arrow"},
      {"BZh"sv, "bzip2"},
      {"\xfd"
       "7zXZ"sv,
       "xz"},
      {"\x28\xb5\x2f\xfd"sv, "zstd"},
      {"\x04\x22\x4d\x18"sv, "lz4"},
      {"7z\xbc\xaf\x27\x1c"sv, "a 7z archive"},
      {"SQLite format 3\0"sv, "an SQLite database"},
      {"\x89HDF"sv, "HDF5"},
      {"%PDF-"sv, "PDF"},
      {"GGUF"sv, "a GGUF model"},
      {"{\\rtf"sv, "rich text"},
      {"\xff\xfe"sv, "UTF-16 or UTF-32"},
      {"\xfe\xff"sv, "UTF-16"},
  }};
  for (const auto& [start, what] : known)
    if (bytes.starts_with(start)) return what;
  return {};
}

inline std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

inline std::size_t line_of(std::string_view text, std::size_t at) {
  return 1 + static_cast<std::size_t>(
                 std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

/// Whether the first line names two or more usual columns, with a separator between all.
inline bool is_table_head(std::string_view text, char separator) {
  constexpr std::array<std::string_view, 14> columns{
      "instruction", "input",    "output",   "prompt", "completion", "text", "question",
      "answer",      "response", "messages", "system", "context",    "id",   "conversations"};
  std::string line = lower(std::string(text.substr(0, text.find_first_of("\r\n"))));
  std::erase(line, '"');
  std::size_t known = 0;
  for (std::size_t begin = 0; begin <= line.size();) {
    const std::size_t end = std::min(line.find(separator, begin), line.size());
    const std::string_view name = std::string_view(line).substr(begin, end - begin);
    if (std::find(columns.begin(), columns.end(), name) == columns.end()) return false;
    ++known;
    begin = end + 1;
  }
  return known >= 2;
}

}  // namespace text_detail

/// The text of a file of training data, without a byte order mark. Throws IoError, or FormatError,
/// naming the file, for an archive, a table (CSV, TSV, Parquet), UTF-16, other binary data, or
/// bytes that are no UTF-8.
inline std::string read_data_text(const std::filesystem::path& path) {
  std::string text = read_text_file(path);
  const std::string name = path.string();
  constexpr const char* wanted = "; expected text in UTF-8: plain, JSON lines or a JSON array";
  const std::string_view container = text_detail::container_of(text);
  require<FormatError>(container.empty(), name, ": this is ", container, wanted);
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
  const std::size_t zero = text.find('\0');
  require<FormatError>(zero == std::string::npos, name, ": a zero byte in line ",
                       zero == std::string::npos ? 0 : text_detail::line_of(text, zero),
                       ": this is binary, UTF-16 or UTF-32", wanted);
  for (std::size_t at = 0; at < text.size();) {
    const auto step = text_detail::utf8_step(std::string_view(text).substr(at));
    require<FormatError>(step.valid, name, ":", step.valid ? 0 : text_detail::line_of(text, at),
                         ": byte ", at, " is no UTF-8", wanted);
    at += step.length;
  }
  const std::string extension = text_detail::lower(path.extension().string());
  const bool tabs = extension == ".tsv" || text_detail::is_table_head(text, '\t');
  require<FormatError>(!tabs && extension != ".csv" && !text_detail::is_table_head(text, ','), name,
                       ": this is a table (", tabs ? "TSV" : "CSV", ")", wanted);
  return text;
}

/// Whether a text is JSON: by the file's extension, or because it begins as an object or a list of
/// objects does.
inline bool holds_json(const std::filesystem::path& path, std::string_view text) {
  const std::string extension = text_detail::lower(path.extension().string());
  if (extension == ".json" || extension == ".jsonl" || extension == ".ndjson") return true;
  const auto next = [&](std::size_t from) {
    return std::min(text.find_first_not_of(" \t\r\n", from), text.size());
  };
  std::size_t at = next(0);
  if (at < text.size() && text[at] == '[') at = next(at + 1);
  if (at >= text.size() || text[at] != '{') return false;
  at = next(at + 1);
  return at < text.size() && text[at] == '"';
}

/// An object of a file, and the line on which it begins.
struct JsonRow {
  std::size_t line = 0;
  nlohmann::ordered_json value;
};

namespace text_detail {

/// One JSON value. Throws FormatError, with the column, for what is no JSON or has a name twice.
inline nlohmann::ordered_json parse_row(std::string_view text) {
  using Json = nlohmann::ordered_json;
  std::vector<std::set<std::string>> open;
  const auto callback = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key)
      require<FormatError>(open.back().insert(value.get<std::string>()).second, "the name '",
                           value.get<std::string>(), "' comes twice");
    return true;
  };
  try {
    return Json::parse(text, callback);
  } catch (const Json::parse_error& failure) {
    const std::string what = failure.what();
    const std::size_t reason = what.find("syntax error");
    throw FormatError(message("no JSON: at byte ", failure.byte, ": ",
                              reason == std::string::npos ? what : what.substr(reason)));
  } catch (const Json::exception& failure) {
    throw FormatError(message("no JSON: ", failure.what()));
  }
}

/// Calls element(begin, end) for the elements of a JSON list that begins at `at`; gives the place
/// behind the list. Throws FormatError where the list does not end.
template <class Element>
std::size_t for_each_element(std::string_view text, std::size_t at, Element element) {
  int depth = 0;
  bool in_text = false;
  std::size_t begin = at + 1;
  for (std::size_t i = at; i < text.size(); ++i) {
    const char c = text[i];
    if (in_text) {
      if (c == '\\') ++i;
      if (c == '"') in_text = false;
      continue;
    }
    if (c == '"') in_text = true;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if ((c == ',' && depth == 1) || depth == 0) {
      element(begin, i);
      begin = i + 1;
      if (depth == 0) return i + 1;
    }
  }
  throw FormatError("expected ']' at the end of the list, found the end of the file");
}

}  // namespace text_detail

/// What a JSON value is, in messages.
inline std::string_view json_kind(const nlohmann::ordered_json& value) {
  return value.is_string()    ? "a text"
         : value.is_number()  ? "a number"
         : value.is_boolean() ? "true or false"
         : value.is_array()   ? "a list"
         : value.is_object()  ? "an object"
                              : "null";
}

/// A text of an object. Throws FormatError, with `where` before the key, for anything else.
inline std::string json_text(const nlohmann::ordered_json& object, const char* key,
                             const std::string& where = "") {
  const auto place = object.find(key);
  require<FormatError>(place != object.end(), where, key, ": expected a text, found no such key");
  require<FormatError>(place->is_string(), where, key, ": expected a text, found ",
                       json_kind(*place));
  return place->get<std::string>();
}

/// Calls body(line, part) for the values of a text, unparsed: JSON lines, of which empty ones are
/// skipped, or the elements of one JSON list. `line` is the line on which a part begins; it is set
/// before a FormatError is thrown for what surrounds the parts.
template <class Body>
void for_each_json_value(std::string_view text, std::size_t& line, Body body) {
  constexpr std::string_view blanks = " \t\r\n";
  line = 1;
  const std::size_t first = std::min(text.find_first_not_of(blanks), text.size());
  if (first == text.size() || text[first] != '[') {
    for_each_line(text, [&](std::size_t number, std::string_view part) {
      line = number;
      body(number, part);
    });
    return;
  }
  std::size_t counted = 0;
  const auto advance = [&](std::size_t to) {
    line += text_detail::line_of(text.substr(counted), to - counted) - 1;
    counted = to;
  };
  bool any = false;
  const std::size_t end =
      text_detail::for_each_element(text, first, [&](std::size_t from, std::size_t to) {
        const std::size_t start = std::min(text.find_first_not_of(blanks, from), to);
        advance(start);
        if (start == to && !any && text[to] == ']') return;  // an empty list
        any = true;
        body(line, text.substr(start, to - start));
      });
  const std::size_t rest = text.find_first_not_of(blanks, end);
  if (rest == std::string_view::npos) return;
  advance(rest);
  throw FormatError("expected nothing behind the list; JSON lines hold an object each");
}

/// One JSON object. Throws FormatError, with the column, for anything else, and for an object that
/// has a name twice.
inline nlohmann::ordered_json parse_json_object(std::string_view text) {
  auto value = text_detail::parse_row(text);
  require<FormatError>(value.is_object(), "expected an object, found ", json_kind(value));
  return value;
}

/// The objects of a text: JSON lines, of which empty ones are skipped, or one JSON list. `name`:
/// the file, for messages. Throws FormatError that begins with `name:line:`.
inline std::vector<JsonRow> json_rows(const std::string& name, std::string_view text) {
  std::vector<JsonRow> rows;
  std::size_t line = 1;
  try {
    for_each_json_value(text, line, [&](std::size_t number, std::string_view part) {
      try {
        rows.push_back({number, parse_json_object(part)});
      } catch (const FormatError&) {
        require<FormatError>(
            !rows.empty() || nlohmann::json::accept(part) || !nlohmann::json::accept(text),
            "one object over several lines; expected an object on each line, or a "
            "list of objects");
        throw;
      }
    });
  } catch (const FormatError& failure) {
    throw FormatError(message(name, ":", line, ": ", failure.what()));
  }
  return rows;
}

}  // namespace qlora::inline QLORA_ABI
