// Scores of systems relative to one of them, from points out of ten for both in both orders:
//
//   relative ratings-gpt4/vicuna --output build/relative
//
// A folder holds files named A-vs-B-REVIEWER.jsonl of lines {"question_id": 1, "score": [8, 9]}; a
// score of -1 was not parsed, and an id may also be called message_id, prompt_id or id. A system's
// percent is its points over the reference's, both orders
// together; the interval is a bootstrap over the questions. DIR gets relative.json, relative.csv,
// relative.png and relative.svg.
#include <filesystem>
#include <iostream>
#include <string>

#include "qlora/tournament/relative_scores.hpp"
#include "support/checks.hpp"
#include "support/notes.hpp"
#include "support/picture.hpp"
#include "support/program.hpp"
#include "support/report.hpp"
#include "support/table.hpp"

namespace {

struct Settings {
  std::string folder;
  program::ReportOptions report;
  qlora::PointsOptions points;
  qlora::RelativeOptions relative;

  void add_to(CLI::App& app) {
    app.add_option("folder", folder, "folder of files named A-vs-B-REVIEWER.jsonl, or one of them")
        ->required();
    app.add_option("--reference", points.reference, "the system of 100 % [the one in every file]");
    app.add_option("--swapped", points.swapped,
                   "files whose points come in the opposite order to their name, a regular "
                   "expression; '' for none")
        ->capture_default_str();
    app.add_option("--resamples", relative.resamples, "of the bootstrap")
        ->check(program::at_least<qlora::Index>(0))
        ->capture_default_str();
    app.add_option("--seed", relative.seed, "of the bootstrap")
        ->check(program::any_number<std::uint64_t>())
        ->capture_default_str();
    report.add_to(app, "relative");
    app.footer(
        "A file is named A-vs-B-REVIEWER.jsonl, such as gpt4-vs-gpt-3.5-gpt4-reviewer.jsonl; its "
        "lines\n"
        "  {\"question_id\": 1, \"score\": [9, 8.5]}   points of A and of B; -1: not parsed\n"
        "The id may also be called message_id, prompt_id or id.\n\n"
        "Examples:\n"
        "  relative ratings-gpt4/vicuna --output build/relative\n"
        "  relative ratings --reference gpt-3.5 --swapped '' --json relative.json");
  }
};

void run(const Settings& settings) {
  program::Report report(settings.report, {settings.folder});
  qlora::ReadingNotes notes;
  const qlora::PointSet points = qlora::read_points(settings.folder, settings.points, notes);
  program::warn(notes);
  program::Table table({{"system"},
                        {"percent", 1},
                        {"low", 1},
                        {"high", 1},
                        {"named_first", 1},
                        {"named_second", 1},
                        {"judgements"},
                        {"questions"}});
  for (const auto& score : qlora::relative_scores(points, settings.relative))
    table.add({score.system, score.percent, score.low, score.high, score.named_first,
               score.named_second, score.judgements, score.questions});
  table.print(std::cout);
  std::cout << "\npercent of the points of " << points.reference << "; " << notes.lines
            << " judgements in " << notes.files << " files, " << notes.unparsed
            << " not parsed; the points of " << points.swapped_files
            << " files were taken in the opposite order to their names\n";
  const nlohmann::json all = {{"reference", points.reference},
                              {"relative", table.json()},
                              {"swapped_files", points.swapped_files},
                              {"notes", program::json_of(notes)}};
  if (const auto folder = report.write("relative", all, table))
    program::draw_both(*folder, "relative",
                       "set key off; set grid x; set yrange [:] reverse; "
                       "set xlabel 'percent of the points of " +
                           points.reference +
                           "'; set ytics font ',8'; set offsets 0, 0, 0.5, 0.5; "
                           "plot 'relative.csv' using 2:0:3:4:ytic(1) skip 1 with xerrorbars "
                           "pointtype 7 linewidth 2");
  report.commit();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Scores relative to one system, from a judge's points out of ten", "relative");
  Settings settings;
  settings.add_to(app);
  return program::run(app, argc, argv, [&] { run(settings); });
}
