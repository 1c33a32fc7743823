/// A judge's verdicts on pairs of answers, from the files that are common.
///
///     qlora::ReadingNotes notes;
///     qlora::Tournament set = qlora::read_tournament("ratings-gpt4/vicuna", notes);
///
/// Three forms are known, in a folder or as a single file:
/// - the QLoRA paper's: JSON lines named A-vs-B-REVIEWER.jsonl, REVIEWER such as gpt4-reviewer or
///   gpt-4-reviewer-threeclass; a line has an id and a score,
/// - Chatbot Arena's battles: {model_a, model_b, winner}, a JSON array or JSON lines,
/// - MT-bench's pairs: {model_1, model_2, g1_winner, g2_winner}, two games with the order swapped.
/// What can't be used is left out, counted and named. Several threads may read at once, each with
/// notes of its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/tournament/judgement_files.hpp"
#include "qlora/tournament/tournament.hpp"

namespace qlora::inline QLORA_ABI {

namespace tournament_detail {

/// Numbers names in the order in which they come.
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

/// Notes a judgement whose question, pair and order were seen before. `more` holds what else tells
/// two judgements apart: the turn and the judge.
class Duplicates {
 public:
  explicit Duplicates(ReadingNotes& notes) : notes_(notes) {}
  void note(const JudgedPair& pair, const std::string& question, const std::string& where,
            const std::string& more = {}) {
    if (!seen_.insert(pair.first + '\n' + pair.second + '\n' + question + '\n' + more).second)
      notes_.duplicates.push_back(where + ": question " + question + " of " + pair.first + " and " +
                                  pair.second + " comes again in this order");
  }

 private:
  ReadingNotes& notes_;
  std::unordered_set<std::string> seen_;
};

/// The two systems in a file's name. Returns nullopt for a name of another kind, and for a name
/// with one system twice, which is noted.
inline std::optional<JudgedPair> pair_of_file(const std::filesystem::path& path,
                                              ReadingNotes& notes) {
  const std::string file = path.filename().string();
  JudgedPair pair;
  if (!systems_of_file(file, pair)) return {};
  if (pair.first != pair.second) return pair;
  notes.other_files.push_back(file + ": expected two systems, found " + pair.first + " twice");
  return {};
}

/// Calls body(pair, file, where, question, score) for each line with an id and a score of the files
/// whose names say which systems they compare. Throws IoError for what can't be read, FormatError
/// where there is no such file.
template <class Body>
void for_each_judgement(const std::filesystem::path& folder, ReadingNotes& notes, Body body) {
  for (const auto& path : judgement_files(folder)) {
    const std::string file = path.filename().string();
    JudgedPair any;
    const auto pair = pair_of_file(path, notes);
    if (!pair) {
      if (!systems_of_file(file, any))
        notes.other_files.push_back(file + ": expected a name such as A-vs-B-gpt4-reviewer.jsonl");
      continue;
    }
    ++notes.files;
    for_each_record(path, notes, [&](const std::string& where, const nlohmann::json& line) {
      body(*pair, file, where, question_of(line), field(line, "score"));
    });
  }
  require<FormatError>(notes.files > 0, folder.string(),
                       ": expected files named as A-vs-B-gpt4-reviewer.jsonl, found none",
                       notes.first_unused());
}

/// The form of a record outside of the paper's files, told by its keys.
enum class RecordForm : std::uint8_t { battle, two_games, unknown };

inline RecordForm form_of(const nlohmann::json& record) {
  if (!record.is_object()) return RecordForm::unknown;
  if (record.contains("model_a") && record.contains("model_b")) return RecordForm::battle;
  if (record.contains("model_1") && record.contains("model_2")) return RecordForm::two_games;
  return RecordForm::unknown;
}

inline std::string unknown_form(const nlohmann::json& record) {
  return "expected an arena battle (model_a, model_b, winner), an MT-bench pair (model_1, "
         "model_2, g1_winner, g2_winner), or a file named A-vs-B-gpt4-reviewer.jsonl with an id "
         "and a score a line; found " +
         keys_of(record);
}

/// Collects verdicts. Systems get their numbers at the end, in alphabetical order.
class TournamentReader {
 public:
  explicit TournamentReader(ReadingNotes& notes)
      : notes_(notes), questions_(result_.questions), duplicates_(notes) {}

  void read(const std::filesystem::path& path) {
    const auto pair = pair_of_file(path, notes_);
    JudgedPair any;
    if (pair) {
      ++notes_.files;
      for_each_record(path, notes_, [&](const std::string& where, const nlohmann::json& line) {
        add_score(*pair, where, line);
      });
    } else if (!systems_of_file(path.filename().string(), any)) {
      read_records(path);
    }
  }

  Tournament finish() {
    result_.systems.assign(names_.begin(), names_.end());
    const auto number_of = [&](const std::string& name) {
      return std::lower_bound(result_.systems.begin(), result_.systems.end(), name) -
             result_.systems.begin();
    };
    std::vector<Index> numbers;  // from the order of their coming to that of the alphabet
    for (const std::string& name : came_) numbers.push_back(number_of(name));
    for (Judgement each : judgements_) {
      each.first = numbers[static_cast<std::size_t>(each.first)];
      each.second = numbers[static_cast<std::size_t>(each.second)];
      result_.judgements.push_back(each);
    }
    return std::move(result_);
  }

 private:
  // score: 1 (the first named wins), 2 (the second), 3 (a tie), -1 (not parsed).
  void add_score(const JudgedPair& pair, const std::string& where, const nlohmann::json& line) {
    const std::string question = question_of(line);
    const nlohmann::json& score = field(line, "score");
    names_.insert({pair.first, pair.second});
    const double value = score.is_number() ? score.get<double>() : 0;
    if (value != 1 && value != 2 && value != 3 && value != -1) {
      notes_.unknown_scores.push_back(where + ": score: expected 1, 2, 3 or -1, found " +
                                      score.dump());
      return;
    }
    duplicates_.note(pair, question, where);
    add(pair, question,
        value == 1   ? Verdict::first
        : value == 2 ? Verdict::second
        : value == 3 ? Verdict::tie
                     : Verdict::unparsed);
  }

  // A file that is told by its records: the first one says whether it holds judgements at all.
  void read_records(const std::filesystem::path& path) {
    const std::string file = path.filename().string(), kind = path.extension().string();
    if (kind != ".json" && kind != ".jsonl" && kind != ".ndjson") {
      notes_.other_files.push_back(file + ": expected JSON or JSON lines by its name");
      return;
    }
    ReadingNotes own;
    bool any = false;
    for_each_record(path, own, [&](const std::string& where, const nlohmann::json& record) {
      const RecordForm form = form_of(record);
      any = any || form != RecordForm::unknown;
      require<FormatError>(form != RecordForm::unknown, unknown_form(record));
      if (form == RecordForm::battle) add_battle(where, record);
      if (form == RecordForm::two_games) add_two_games(where, record);
    });
    if (!any) {
      notes_.other_files.push_back(own.broken_lines.empty() ? file +
                                                                  ": expected judgements, found "
                                                                  "an empty file"
                                                            : own.broken_lines.front());
      return;
    }
    ++notes_.files;
    notes_.lines += own.lines;
    notes_.broken_lines.insert(notes_.broken_lines.end(), own.broken_lines.begin(),
                               own.broken_lines.end());
  }

  // The answer of model_a stood before that of model_b.
  void add_battle(const std::string& where, const nlohmann::json& record) {
    const JudgedPair pair = two_systems(record, "model_a", "model_b");
    const std::string winner = text_field(record, "winner");
    const auto verdict = verdict_of(winner, "model_a", "model_b");
    if (!verdict) {
      note_unknown(where, "winner", "model_a, model_b, tie, tie (bothbad) or both_bad", winner);
      return;
    }
    const std::string id = question_if_named(record);
    const std::string question = id.empty() ? where : id;
    duplicates_.note(pair, question, where, same_judgement(record));
    add(pair, question, *verdict);
  }

  // In the first game the answer of model_1 stood first, in the second that of model_2.
  void add_two_games(const std::string& where, const nlohmann::json& record) {
    const JudgedPair pair = two_systems(record, "model_1", "model_2");
    const std::string question = question_of(record);
    const std::string forth = text_field(record, "g1_winner"),
                      back = text_field(record, "g2_winner");
    const auto first_game = verdict_of(forth, "model_1", "model_2");
    const auto second_game = verdict_of(back, "model_2", "model_1");
    if (!first_game || !second_game) {
      note_unknown(where, first_game ? "g2_winner" : "g1_winner", "model_1, model_2, tie or error",
                   first_game ? back : forth);
      return;
    }
    duplicates_.note(pair, question, where, same_judgement(record));
    add(pair, question, *first_game);
    add({pair.second, pair.first}, question, *second_game);
  }

  static std::optional<Verdict> verdict_of(const std::string& winner, const char* first,
                                           const char* second) {
    if (winner == first) return Verdict::first;
    if (winner == second) return Verdict::second;
    if (winner == "tie" || winner == "tie (bothbad)" || winner == "both_bad") return Verdict::tie;
    if (winner == "error") return Verdict::unparsed;
    return {};
  }

  static JudgedPair two_systems(const nlohmann::json& record, const char* first,
                                const char* second) {
    JudgedPair pair{text_field(record, first), text_field(record, second)};
    require<FormatError>(pair.first != pair.second, "expected two systems, found ", pair.first,
                         " twice");
    return pair;
  }

  // The turn and the judge, where a record names them.
  static std::string same_judgement(const nlohmann::json& record) {
    std::string all;
    for (const char* name : {"turn", "judge"})
      if (record.contains(name)) all += record.at(name).dump() + '\n';
    return all;
  }

  void note_unknown(const std::string& where, const char* name, const char* expected,
                    const std::string& found) {
    notes_.unknown_scores.push_back(where + ": " + name + ": expected " + expected + ", found " +
                                    found);
  }

  void add(const JudgedPair& pair, const std::string& question, Verdict verdict) {
    names_.insert({pair.first, pair.second});
    notes_.unparsed += verdict == Verdict::unparsed ? 1 : 0;
    judgements_.push_back(
        {systems_(pair.first), systems_(pair.second), questions_(question), verdict});
  }

  ReadingNotes& notes_;
  Tournament result_;
  std::vector<Judgement> judgements_;  // systems numbered as they came
  std::vector<std::string> came_;
  std::set<std::string> names_;
  Numbering questions_, systems_{came_};
  Duplicates duplicates_;
};

}  // namespace tournament_detail

/// Reads the verdicts of a folder or of a single file. Systems are in alphabetical order. A
/// question is named by its id, a battle without an id by its place in the file. Throws IoError for
/// what can't be read, and FormatError where no verdict was parsed; the message says what the first
/// record lacks.
inline Tournament read_tournament(const std::filesystem::path& path, ReadingNotes& notes) {
  tournament_detail::TournamentReader reader(notes);
  for (const auto& file : judgement_files(path)) reader.read(file);
  require<FormatError>(
      notes.files > 0, path.string(),
      ": expected judgements, found none: no file named as A-vs-B-gpt4-reviewer.jsonl, no arena "
      "battles and no MT-bench pairs",
      notes.first_unused());
  Tournament result = reader.finish();
  const auto played = matches_played(matches(result), result.systems.size());
  for (std::size_t s = 0; s < played.size(); ++s)
    if (played[s] == 0) notes.never_plays.push_back(result.systems[s]);
  require<FormatError>(notes.never_plays.size() < result.systems.size(), path.string(),
                       ": expected a verdict that was parsed, found none in ", notes.lines,
                       " lines", notes.first_unused());
  return result;
}

}  // namespace qlora::inline QLORA_ABI
