/// Points out of ten for a system's answers and a reference's, in both orders, and the share of the
/// reference's points that a system gets.
///
///     qlora::ReadingNotes notes;
///     auto points = qlora::read_points("ratings-gpt4/vicuna", {}, notes);
///     for (const auto& score : qlora::relative_scores(points)) print(score.system, score.percent);
///
/// The QLoRA paper, 5.2 (its table 6). Several threads may call these functions at once, each with
/// notes of its own.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/core/random.hpp"
#include "qlora/tournament/percentile.hpp"
#include "qlora/tournament/read_judgements.hpp"

namespace qlora::inline QLORA_ABI {

/// How the files of points are read.
struct PointsOptions {
  std::string reference = {};  ///< the system of 100 %; by default the one in every file
  /// A regular expression for the names of files whose points come in the opposite order to the
  /// systems in the name. In the paper's repository these are the files of the systems it trained.
  std::string swapped = "-vicuna-generations";
};

/// The points of a system's answer to a question and of the reference's answer.
struct Points {
  Index system = 0, question = 0;
  bool named_first = true;  ///< the system is named before the reference
  double own = 0, reference = 0;
};

/// All points against one reference.
struct PointSet {
  std::string reference;
  std::vector<std::string> systems, questions;
  std::vector<Points> points;
  Index swapped_files = 0;  ///< files that PointsOptions::swapped matched
};

namespace tournament_detail {

enum class PointsKind : std::uint8_t { both, unparsed, unknown };

/// score: [points of one, points of the other], or -1 (also twice) where it was not parsed.
inline PointsKind points_of(const nlohmann::json& score, double& first, double& second) {
  if (score == -1) return PointsKind::unparsed;
  if (!score.is_array() || score.size() != 2 || !score[0].is_number() || !score[1].is_number())
    return PointsKind::unknown;
  first = score[0].get<double>();
  second = score[1].get<double>();
  if (first == -1 && second == -1) return PointsKind::unparsed;
  return first >= 0 && second >= 0 ? PointsKind::both : PointsKind::unknown;
}

/// The one system that is in every file.
inline std::string common_system(const std::map<std::string, std::set<std::string>>& files_of,
                                 std::size_t files, const std::filesystem::path& folder) {
  std::vector<std::string> common;
  for (const auto& [name, its_files] : files_of)
    if (its_files.size() == files) common.push_back(name);
  require<FormatError>(common.size() == 1, folder.string(), ": expected one system in all ", files,
                       " files, found ", common.size(), "; name the reference");
  return common.front();
}

}  // namespace tournament_detail

/// Reads the points of a folder, or of a single file, whose records have a score: [points of one,
/// points of the other], or -1 where the judge's words were not parsed. Throws IoError for a folder
/// that can't be read. Throws FormatError for a broken expression, for a folder without points, for
/// a reference that is in no file, and where no reference is named and not just one system is in
/// every file.
inline PointSet read_points(const std::filesystem::path& folder, const PointsOptions& options,
                            ReadingNotes& notes) {
  struct Line {
    tournament_detail::JudgedPair pair;
    std::string question, where;
    double first, second;
  };
  std::regex swapped;
  try {
    swapped.assign(options.swapped);
  } catch (const std::regex_error& failure) {
    throw FormatError(message("swapped files: '", options.swapped, "': ", failure.what()));
  }
  std::vector<Line> lines;
  std::set<std::string> files, swapped_files;
  tournament_detail::Duplicates duplicates(notes);
  std::map<std::string, std::set<std::string>> files_of;
  tournament_detail::for_each_judgement(
      folder, notes,
      [&](const tournament_detail::JudgedPair& pair, const std::string& file,
          const std::string& where, const std::string& question, const nlohmann::json& score) {
        files.insert(file);
        files_of[pair.first].insert(file);
        files_of[pair.second].insert(file);
        double first = 0, second = 0;
        const tournament_detail::PointsKind kind =
            tournament_detail::points_of(score, first, second);
        if (kind == tournament_detail::PointsKind::unparsed) {
          ++notes.unparsed;
        } else if (kind == tournament_detail::PointsKind::unknown) {
          notes.unknown_scores.push_back(
              where + ": score: expected two numbers of 0 or more, or -1, found " + score.dump());
        } else {
          duplicates.note(pair, question, where);
          lines.push_back({pair, question, where, first, second});
          if (options.swapped.empty() || !std::regex_search(file, swapped)) return;
          std::swap(lines.back().first, lines.back().second);
          swapped_files.insert(file);
        }
      });
  require<FormatError>(!lines.empty(), folder.string(), ": expected points, found none in ",
                       notes.lines, " lines", notes.first_unused());
  PointSet set;
  set.swapped_files = static_cast<Index>(swapped_files.size());
  set.reference = options.reference.empty()
                      ? tournament_detail::common_system(files_of, files.size(), folder)
                      : options.reference;
  require<FormatError>(files_of.contains(set.reference), folder.string(), ": expected files of '",
                       set.reference, "', found none");
  tournament_detail::Numbering questions(set.questions), systems(set.systems);
  for (const auto& [name, _] : files_of)
    if (name != set.reference) systems(name);
  std::set<Index> plays;
  for (const Line& line : lines) {
    const bool named_first = line.pair.second == set.reference;
    if (!named_first && line.pair.first != set.reference) {
      notes.broken_lines.push_back(line.where + ": neither " + line.pair.first + " nor " +
                                   line.pair.second + " is " + set.reference);
      continue;
    }
    const Index system = systems(named_first ? line.pair.first : line.pair.second);
    plays.insert(system);
    set.points.push_back({system, questions(line.question), named_first,
                          named_first ? line.first : line.second,
                          named_first ? line.second : line.first});
  }
  for (std::size_t s = 0; s < set.systems.size(); ++s)
    if (!plays.contains(static_cast<Index>(s))) notes.never_plays.push_back(set.systems[s]);
  return set;
}

/// What one system comes to.
struct RelativeScore {
  std::string system;
  double percent = 0;                        ///< of the reference's points, both orders together
  double low = 0, high = 0;                  ///< interval by bootstrap over the questions
  double named_first = 0, named_second = 0;  ///< percent of each order alone
  Index judgements = 0, questions = 0;
};

/// How the intervals are computed.
struct RelativeOptions {
  Index resamples = 10000;  ///< how often the questions are resampled; 0: intervals are NaN
  double level = 0.95;      ///< the share of the resamples that an interval holds
  std::uint64_t seed = 0;   ///< decides the resamples
};

/// One score per system, the best first. A system without points has NaN and comes last. The result
/// is the same for any number of threads.
inline std::vector<RelativeScore> relative_scores(const PointSet& set,
                                                  const RelativeOptions& options = {}) {
  const std::size_t systems = set.systems.size(), questions = set.questions.size();
  struct Sums {
    double own = 0, reference = 0;
    double percent() const { return 100 * own / reference; }
  };
  std::vector<RelativeScore> scores(systems);
  parallel_for(static_cast<Index>(systems), [&](Index s) {
    RelativeScore& score = scores[static_cast<std::size_t>(s)];
    score.system = set.systems[static_cast<std::size_t>(s)];
    std::vector<Sums> of_question(questions);
    std::vector<char> asked(questions, 0);
    Sums all, first, second;
    for (const Points& each : set.points) {
      if (each.system != s) continue;
      const auto q = static_cast<std::size_t>(each.question);
      for (Sums* sums : {&of_question[q], &all, each.named_first ? &first : &second}) {
        sums->own += each.own;
        sums->reference += each.reference;
      }
      asked[q] = 1;
      ++score.judgements;
    }
    score.percent = all.percent();
    score.named_first = first.percent();
    score.named_second = second.percent();
    std::vector<Sums> drawn_from;
    for (std::size_t q = 0; q < questions; ++q)
      if (asked[q]) drawn_from.push_back(of_question[q]);
    score.questions = static_cast<Index>(drawn_from.size());
    std::vector<double> percents;
    for (Index r = 0; r < options.resamples && !drawn_from.empty(); ++r) {
      const std::uint64_t key = derive_key(derive_key(options.seed, static_cast<std::uint64_t>(s)),
                                           static_cast<std::uint64_t>(r));
      Sums sums;
      for (std::size_t q = 0; q < drawn_from.size(); ++q) {
        const Sums& chosen = drawn_from[uniform_below(key, q, drawn_from.size())];
        sums.own += chosen.own;
        sums.reference += chosen.reference;
      }
      percents.push_back(sums.percent());
    }
    const Interval interval = central_interval(std::move(percents), options.level);
    score.low = interval.low;
    score.high = interval.high;
  });
  std::stable_sort(scores.begin(), scores.end(), [](const auto& a, const auto& b) {
    return std::isnan(b.percent) ? !std::isnan(a.percent) : a.percent > b.percent;
  });
  return scores;
}

}  // namespace qlora::inline QLORA_ABI
