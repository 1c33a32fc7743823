/// The categories of questions, from a file of JSON lines {question_id, category}.
///
///     auto categories = qlora::read_categories("questions.jsonl");
///     categories.at("81");
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/tournament/judgement_files.hpp"

namespace qlora::inline QLORA_ABI {

/// The category of each question, by the question's id as Tournament::questions has it. The id may
/// have any of question_id_names. Several threads may call this at once. Throws IoError for a file
/// that can't be read; FormatError, with file and line, for a line without an id or a category.
inline std::map<std::string, std::string> read_categories(const std::filesystem::path& path) {
  std::map<std::string, std::string> categories;
  for_each_line(read_text_file(path), [&](std::size_t number, std::string_view line) {
    const std::string where = message(path.string(), ":", number);
    const nlohmann::json record = parse_json(where, line);
    try {
      categories[tournament_detail::question_of(record)] =
          tournament_detail::text_field(record, "category");
    } catch (const FormatError& failure) {
      throw FormatError(message(where, ": ", failure.what()));
    }
  });
  return categories;
}

}  // namespace qlora::inline QLORA_ABI
