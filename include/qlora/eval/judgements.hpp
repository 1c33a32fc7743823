/// Folders of a judge's verdicts and points, as the QLoRA paper's repository has them.
///
///     qlora::ReadingNotes notes;
///     qlora::Tournament set = qlora::read_tournament("ratings-gpt4/vicuna", notes);
///
/// A file is JSON lines named A-vs-B-REVIEWER.jsonl, REVIEWER such as gpt4-reviewer or
/// gpt-4-reviewer-threeclass; a line has question_id and score. What can't be used is left out,
/// counted and named.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "qlora/core/error.hpp"
#include "qlora/eval/tournament.hpp"
#include "qlora/io/json_file.hpp"

namespace qlora {

/// What was seen while reading. Each entry of the lists names the file, the line and what is wrong.
struct ReadingNotes {
  Index files = 0, lines = 0, unparsed = 0;
  std::vector<std::string> other_files;     ///< whose name is not A-vs-B-REVIEWER.jsonl
  std::vector<std::string> broken_lines;    ///< no JSON, or without what is needed; left out
  std::vector<std::string> unknown_scores;  ///< left out
  std::vector<std::string> duplicates;      ///< one order of a question and pair again; counted
  std::vector<std::string> never_plays;     ///< systems without a single parsed judgement
};

namespace detail {

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

/// A number or a text as a name.
inline std::string question_name(const nlohmann::json& id) {
  return id.is_string() ? id.get<std::string>() : id.dump();
}

/// Gives names numbers as they come.
class Numbering {
 public:
  explicit Numbering(std::vector<std::string>& names) : names_(names) {}
  Index operator()(const std::string& name) {
    const auto [at, fresh] = numbers_.try_emplace(name, static_cast<Index>(names_.size()));
    if (fresh) names_.push_back(name);
    return at->second;
  }

 private:
  std::vector<std::string>& names_;
  std::map<std::string, Index> numbers_;
};

/// Calls body(pair, file, where, line) for each line that is an object with a question and a score,
/// in the order of the files' names. Throws IoError for a folder that can't be read.
template <class Body>
void for_each_judgement(const std::filesystem::path& folder, ReadingNotes& notes, Body body) {
  std::vector<std::filesystem::path> files;
  try {
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.is_regular_file()) files.push_back(entry.path());
  } catch (const std::filesystem::filesystem_error& failure) {
    throw IoError(message(folder.string(), ": can't read the folder: ", failure.code().message()));
  }
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    const std::string file = path.filename().string();
    JudgedPair pair;
    if (!systems_of_file(file, pair)) {
      notes.other_files.push_back(file + ": expected a name such as A-vs-B-gpt4-reviewer.jsonl");
      continue;
    }
    if (pair.first == pair.second) {
      notes.other_files.push_back(file + ": expected two systems, found " + pair.first + " twice");
      continue;
    }
    ++notes.files;
    for_each_line(read_text_file(path), [&](std::size_t number, std::string_view text) {
      ++notes.lines;
      const std::string where = file + ":" + std::to_string(number);
      try {
        const nlohmann::json line = nlohmann::json::parse(text);
        const nlohmann::json& id = line.at("question_id");
        require<FormatError>(id.is_string() || id.is_number_integer(),
                             "question_id: expected a number or a text, found ", id.dump());
        body(pair, file, where, question_name(id), line.at("score"));
      } catch (const nlohmann::json::exception& failure) {
        notes.broken_lines.push_back(where + ": " + failure.what());
      } catch (const FormatError& failure) {
        notes.broken_lines.push_back(where + ": " + failure.what());
      }
    });
  }
  require<FormatError>(notes.files > 0, folder.string(),
                       ": expected files named as A-vs-B-gpt4-reviewer.jsonl, found none");
}

inline void note_duplicate(std::set<std::tuple<std::string, std::string, std::string>>& seen,
                           const JudgedPair& pair, const std::string& question,
                           const std::string& where, ReadingNotes& notes) {
  if (!seen.emplace(pair.first, pair.second, question).second)
    notes.duplicates.push_back(where + ": question " + question + " of " + pair.first + " and " +
                               pair.second + " comes again in this order");
}

}  // namespace detail

/// Verdicts: score 1 (the first named wins), 2 (the second), 3 (a tie), -1 (not parsed). Systems
/// are in alphabetical order. Throws IoError for a folder that can't be read, FormatError for one
/// with fewer than two systems or without a parsed verdict.
inline Tournament read_tournament(const std::filesystem::path& folder, ReadingNotes& notes) {
  struct Line {
    detail::JudgedPair pair;
    Index question;
    Verdict verdict;
  };
  Tournament result;
  std::vector<Line> lines;
  std::set<std::string> names;
  detail::Numbering questions(result.questions);
  std::set<std::tuple<std::string, std::string, std::string>> seen;
  detail::for_each_judgement(
      folder, notes,
      [&](const detail::JudgedPair& pair, const std::string&, const std::string& where,
          const std::string& question, const nlohmann::json& score) {
        names.insert({pair.first, pair.second});
        const double value = score.is_number() ? score.get<double>() : 0;
        if (value != 1 && value != 2 && value != 3 && value != -1) {
          notes.unknown_scores.push_back(where + ": score: expected 1, 2, 3 or -1, found " +
                                         score.dump());
          return;
        }
        const Verdict verdict = value == 1   ? Verdict::first
                                : value == 2 ? Verdict::second
                                : value == 3 ? Verdict::tie
                                             : Verdict::unparsed;
        notes.unparsed += verdict == Verdict::unparsed ? 1 : 0;
        detail::note_duplicate(seen, pair, question, where, notes);
        lines.push_back({pair, questions(question), verdict});
      });
  result.systems.assign(names.begin(), names.end());
  const auto number_of = [&](const std::string& name) {
    return std::lower_bound(result.systems.begin(), result.systems.end(), name) -
           result.systems.begin();
  };
  for (const Line& line : lines)
    result.judgements.push_back(
        {number_of(line.pair.first), number_of(line.pair.second), line.question, line.verdict});
  const auto played = matches_played(matches(result), result.systems.size());
  for (std::size_t s = 0; s < played.size(); ++s)
    if (played[s] == 0) notes.never_plays.push_back(result.systems[s]);
  require<FormatError>(notes.never_plays.size() < result.systems.size(), folder.string(),
                       ": expected a verdict that was parsed, found none in ", notes.lines,
                       " lines");
  return result;
}

}  // namespace qlora
