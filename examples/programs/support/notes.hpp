// What was left out of judgements that were read: in full for JSON, the first of each kind on
// stderr.
#pragma once

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "qlora/tournament/judgement_files.hpp"
#include "support/terminal.hpp"

namespace program {

inline std::vector<std::pair<std::string, const std::vector<std::string>*>> kinds_of(
    const qlora::ReadingNotes& notes) {
  return {{"files left out", &notes.other_files},
          {"broken lines left out", &notes.broken_lines},
          {"unknown scores left out", &notes.unknown_scores},
          {"judgements that come again", &notes.duplicates},
          {"systems without a match", &notes.never_plays}};
}

inline void warn(const qlora::ReadingNotes& notes) {
  constexpr std::size_t shown = 5;
  for (const auto& [kind, list] : kinds_of(notes)) {
    if (list->empty()) continue;
    warn(std::to_string(list->size()) + " " + kind + ":");
    for (std::size_t i = 0; i < list->size() && i < shown; ++i)
      std::cerr << "  " << (*list)[i] << "\n";
    if (list->size() > shown) std::cerr << "  and " << list->size() - shown << " more\n";
  }
}

inline nlohmann::json json_of(const qlora::ReadingNotes& notes) {
  nlohmann::json json = {
      {"files", notes.files}, {"lines", notes.lines}, {"unparsed", notes.unparsed}};
  for (const auto& [kind, list] : kinds_of(notes)) json[kind] = *list;
  return json;
}

}  // namespace program
