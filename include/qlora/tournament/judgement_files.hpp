/// Files of a judge's verdicts and points: where they are, their records, and what was left out.
///
///     qlora::ReadingNotes notes;
///     for (const auto& path : qlora::judgement_files("ratings"))
///       qlora::for_each_record(path, notes, [](const std::string& where, auto& record) {
///         print(where, record.dump());
///       });
///
/// A record is one line of a file of JSON lines, or one element of a file that is a JSON array.
/// Several threads may read at once, each with notes of its own.
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/io/json_file.hpp"

namespace qlora::inline QLORA_ABI {

/// What was seen while reading. Each entry of the lists names the file, the line and what is wrong.
struct ReadingNotes {
  Index files = 0;                          ///< that hold judgements
  Index lines = 0;                          ///< records in them
  Index unparsed = 0;                       ///< judgements without a verdict
  std::vector<std::string> other_files;     ///< files without judgements
  std::vector<std::string> broken_lines;    ///< left out: no JSON, or without what is needed
  std::vector<std::string> unknown_scores;  ///< left out: a score of another kind
  std::vector<std::string> duplicates;      ///< same question, pair and order seen before; counted
  std::vector<std::string> never_plays;     ///< systems without a single parsed judgement

  /// "; the first that can't be used: ..." for messages, or nothing.
  std::string first_unused() const {
    for (const auto* list : {&broken_lines, &unknown_scores, &other_files})
      if (!list->empty()) return "; the first that can't be used: " + list->front();
    return "";
  }
};

/// The names that the id of a question may have in a record; the first one that is found counts.
inline constexpr std::array question_id_names{"question_id", "message_id", "prompt_id", "id"};

namespace tournament_detail {

struct JudgedPair {
  std::string first, second;
};

/// A name as tables print it: without a leading "answer-" and what names the generation.
inline std::string system_name(std::string name) {
  if (name.starts_with("answer-")) name.erase(0, 7);
  for (const char* suffix : {"-vicuna-generations", "-oa-generations"})
    if (const auto at = name.find(suffix); at != std::string::npos && at > 0) name.erase(at);
  return name;
}

/// The systems of a file's name; false for another kind of name.
inline bool systems_of_file(const std::string& file, JudgedPair& pair) {
  // A reviewer is a word, or a word and a number (gpt-4), before "-reviewer"; B may hold hyphens.
  static const std::regex pattern(
      R"((.+?)-vs-(.+)-[A-Za-z][^-]*(-[0-9][^-]*)?-reviewer(-[^-]+)*\.jsonl)");
  std::smatch match;
  if (!std::regex_match(file, match, pattern)) return false;
  pair = {system_name(match[1]), system_name(match[2])};
  return true;
}

/// The first dozen keys of a record, for messages.
inline std::string keys_of(const nlohmann::json& record) {
  constexpr std::size_t shown = 12;
  if (!record.is_object()) return message("no JSON object but ", record.type_name());
  if (record.empty()) return "no keys";
  std::string all = "the keys ";
  std::size_t count = 0;
  for (const auto& item : record.items()) {
    if (count == shown) return all + " and more";
    all.append(count++ > 0 ? ", " : "").append(item.key());
  }
  return all;
}

/// A field of a record. Throws FormatError that names the keys it has instead.
inline const nlohmann::json& field(const nlohmann::json& record, const char* name) {
  const auto found = record.is_object() ? record.find(name) : record.end();
  require<FormatError>(found != record.end(), "expected '", name, "', found ", keys_of(record));
  return *found;
}

inline std::string text_field(const nlohmann::json& record, const char* name) {
  const nlohmann::json& value = field(record, name);
  require<FormatError>(value.is_string(), name, ": expected a text, found ", value.type_name());
  return value.get<std::string>();
}

/// The id of a record's question under any of its names; empty where it has none. A number and the
/// same number as a text are one question. Throws FormatError for an id of another type.
inline std::string question_if_named(const nlohmann::json& record) {
  for (const char* name : question_id_names) {
    const auto id = record.is_object() ? record.find(name) : record.end();
    if (id == record.end()) continue;
    require<FormatError>(id->is_string() || id->is_number_integer(), name,
                         ": expected a number or a text, found ", id->type_name());
    return id->is_string() ? id->get<std::string>() : id->dump();
  }
  return "";
}

/// The same, of a record that must have one. Throws FormatError.
inline std::string question_of(const nlohmann::json& record) {
  const std::string question = question_if_named(record);
  require<FormatError>(!question.empty(),
                       "expected an id (question_id, message_id, prompt_id or id), found ",
                       keys_of(record));
  return question;
}

/// Whether a text begins as a JSON array of objects, which JSON lines never do.
inline bool is_array_of_objects(std::string_view text) {
  constexpr const char* blank = " \t\r\n";
  const std::size_t bracket = text.find_first_not_of(blank);
  if (bracket == std::string_view::npos || text[bracket] != '[') return false;
  const std::size_t next = text.find_first_not_of(blank, bracket + 1);
  return next != std::string_view::npos && (text[next] == '{' || text[next] == ']');
}

/// Calls body(number, element) for the elements of a text that is a JSON array, each dropped before
/// the next one is read; numbers count from 1. Throws FormatError where the text is broken.
template <class Body>
void for_each_element(const std::string& where, std::string_view text, Body body) {
  using Event = nlohmann::json::parse_event_t;
  std::size_t number = 0;
  std::vector<std::set<std::string>> open;
  const auto callback = [&](int depth, Event event, nlohmann::json& value) {
    if (event == Event::object_start) open.emplace_back();
    if (event == Event::object_end) open.pop_back();
    if (event == Event::key)
      require<FormatError>(open.back().insert(value.get<std::string>()).second, where, ": entry ",
                           number + 1, ": the name '", value.get<std::string>(), "' comes twice");
    const bool ends =
        event == Event::object_end || event == Event::array_end || event == Event::value;
    if (depth != 1 || !ends) return true;
    body(++number, value);
    return false;
  };
  try {
    [[maybe_unused]] const nlohmann::json emptied = nlohmann::json::parse(text, callback);
  } catch (const nlohmann::json::exception& failure) {
    throw FormatError(message(where, ": after entry ", number, ": ", failure.what()));
  }
}

}  // namespace tournament_detail

/// The files of a folder in the order of their names, or `path` itself if it is a file. Throws
/// IoError for a folder that can't be read.
inline std::vector<std::filesystem::path> judgement_files(const std::filesystem::path& path) {
  std::error_code failure;
  if (std::filesystem::is_regular_file(path, failure)) return {path};
  std::vector<std::filesystem::path> files;
  try {
    for (const auto& entry : std::filesystem::directory_iterator(path))
      if (entry.is_regular_file()) files.push_back(entry.path());
  } catch (const std::filesystem::filesystem_error& error) {
    throw IoError(message(path.string(), ": can't read the folder: ", error.code().message()));
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// Calls body(where, record) for each record of a file; `where` names file and place. A record that
/// is no JSON, and one for which body throws FormatError, goes into notes.broken_lines.
template <class Body>
void for_each_record(const std::filesystem::path& path, ReadingNotes& notes, Body body) {
  const std::string file = path.filename().string();
  const std::string text = read_text_file(path);
  const auto use = [&](const std::string& where, const nlohmann::json& record) {
    ++notes.lines;
    try {
      body(where, record);
    } catch (const FormatError& failure) {
      notes.broken_lines.push_back(where + ": " + failure.what());
    }
  };
  if (tournament_detail::is_array_of_objects(text)) {
    try {
      tournament_detail::for_each_element(file, text,
                                          [&](std::size_t number, const nlohmann::json& record) {
                                            use(file + ": entry " + std::to_string(number), record);
                                          });
    } catch (const FormatError& failure) {
      notes.broken_lines.emplace_back(failure.what());
    }
    return;
  }
  for_each_line(text, [&](std::size_t number, std::string_view line) {
    const std::string where = file + ":" + std::to_string(number);
    nlohmann::json record;
    try {
      record = parse_json(where, line);
    } catch (const FormatError& failure) {
      ++notes.lines;
      notes.broken_lines.emplace_back(failure.what());
      return;
    }
    use(where, record);
  });
}

}  // namespace qlora::inline QLORA_ABI
