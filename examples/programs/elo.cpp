// Ratings of systems from a judge's verdicts on pairs of answers, and what to think of the judge:
//
//   elo ratings-gpt4/vicuna --orders 10000 --output build/elo
//
// A folder, or a single file, holds judgements in one of three forms: files named
// A-vs-B-REVIEWER.jsonl of lines {"question_id": 1, "score": 1} (score 1: A wins, 2: B wins, 3: a
// tie, -1: not parsed), Chatbot Arena's battles, or MT-bench's pairs. The table comes first, then
// Bradley-Terry ratings, order bias and the judge's agreement with itself, and with --relative
// FOLDER with points out of ten; with --questions F all of it for each category. DIR gets elo.json,
// elo.csv, elo.png and elo.svg.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "qlora/tournament/bradley_terry.hpp"
#include "qlora/tournament/elo.hpp"
#include "qlora/tournament/order_bias.hpp"
#include "qlora/tournament/read_categories.hpp"
#include "qlora/tournament/read_judgements.hpp"
#include "qlora/tournament/relative_scores.hpp"
#include "support/checks.hpp"
#include "support/notes.hpp"
#include "support/picture.hpp"
#include "support/program.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/table.hpp"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Settings {
  std::string folder, questions, relative, reference;
  program::ReportOptions report;
  qlora::PointsOptions points;
  qlora::EloOptions elo;
  qlora::Index resamples = 1000;
  bool cancel_order_bias = false;

  void add_to(CLI::App& app) {
    app.add_option("folder", folder, "folder of judgements, or one file of them")->required();
    app.add_option("--orders", elo.orders, "random orders of the matches")
        ->check(program::at_least<qlora::Index>(1))
        ->capture_default_str();
    app.add_option("--seed", elo.seed, "of the orders and of the bootstrap")
        ->check(program::any_number<std::uint64_t>())
        ->capture_default_str();
    app.add_option("--k", elo.k, "what a match moves at most")
        ->check(program::positive<double>())
        ->capture_default_str();
    app.add_flag("--cancel-order-bias", cancel_order_bias,
                 "the two orders of a question and pair are one match with their mean");
    app.add_option("--resamples", resamples, "of the bootstrap for Bradley-Terry's intervals")
        ->check(program::at_least<qlora::Index>(0))
        ->capture_default_str();
    app.add_option("--questions", questions,
                   "JSON lines {question_id, category}: tables for each category");
    auto* other = app.add_option("--relative", relative,
                                 "folder of points out of ten: how far the two rankings agree");
    app.add_option("--reference", points.reference, "its system of 100 % [the one in every file]")
        ->needs(other);
    app.add_option("--swapped", points.swapped,
                   "its files whose points come in the opposite order to their name, a regular "
                   "expression")
        ->needs(other)
        ->capture_default_str();
    report.add_to(app, "elo");
    app.footer(
        "Judgements are read in three forms:\n"
        "  A-vs-B-REVIEWER.jsonl with lines {\"question_id\": 1, \"score\": 1}\n"
        "      score 1: A wins, 2: B wins, 3: a tie, -1: not parsed; the id may also be called\n"
        "      message_id, prompt_id or id\n"
        "  arena battles {\"model_a\": ..., \"model_b\": ..., \"winner\": \"model_a\"}\n"
        "      winner model_a, model_b, tie or tie (bothbad); a JSON array or JSON lines\n"
        "  MT-bench pairs {\"question_id\": 81, \"model_1\": ..., \"model_2\": ..., \"g1_winner\": "
        "...,\n"
        "      \"g2_winner\": ...}; winners model_1, model_2, tie or error\n\n"
        "Examples:\n"
        "  elo ratings-gpt4/vicuna --orders 10000 --output build/elo\n"
        "  elo clean_battle.json --json elo.json");
  }
};

std::vector<std::size_t> best_first(const std::vector<qlora::EloRating>& ratings) {
  std::vector<std::size_t> order(ratings.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return ratings[a].mean > ratings[b].mean; });
  return order;
}

struct Rated {
  std::vector<qlora::Match> matches;
  std::vector<qlora::EloRating> elo;
  std::vector<qlora::Index> played;
};

Rated rate(const qlora::Tournament& set, const Settings& settings,
           const qlora::EloOptions& options) {
  Rated rated;
  rated.matches = settings.cancel_order_bias ? qlora::combined_matches(set) : qlora::matches(set);
  rated.elo = qlora::elo(rated.matches, set.systems.size(), options);
  rated.played = qlora::matches_played(rated.matches, set.systems.size());
  return rated;
}

program::Table elo_table(const qlora::Tournament& set, const Rated& rated) {
  program::Table table({{"system"}, {"rating", 1}, {"spread", 1}, {"matches"}});
  for (const std::size_t s : best_first(rated.elo))
    table.add({set.systems[s], rated.elo[s].mean, rated.elo[s].spread, rated.played[s]});
  return table;
}

program::Table bias_table(const qlora::Tournament& set, const qlora::OrderBias& bias,
                          const std::vector<std::size_t>& order) {
  program::Table table({{"system"}, {"won", 3}, {"shown_first", 3}, {"shown_second", 3}});
  for (const std::size_t s : order) {
    const qlora::SystemBias& system = bias.systems[s];
    table.add({set.systems[s], system.rate(), system.rate_first(), system.rate_second()});
  }
  return table;
}

json overall(const qlora::OrderBias& bias) {
  return {{"judgements", bias.first_wins + bias.second_wins + bias.ties + bias.unparsed},
          {"first_shown_wins", bias.first_wins},
          {"second_shown_wins", bias.second_wins},
          {"ties", bias.ties},
          {"unparsed", bias.unparsed}};
}

json self_json(const qlora::SelfAgreement& self) {
  return {{"pairs", self.pairs},
          {"same", self.same},
          {"cohen_kappa", program::number(self.cohen)},
          {"fleiss_kappa", program::number(self.fleiss)},
          {"first_shown_wins_both", self.first_both},
          {"second_shown_wins_both", self.second_both}};
}

void print_bias(const qlora::OrderBias& bias) {
  std::cout << "of " << bias.first_wins + bias.second_wins + bias.ties + bias.unparsed
            << " judgements the first shown wins " << bias.first_wins << ", the second "
            << bias.second_wins << ", ties " << bias.ties << ", not parsed " << bias.unparsed
            << "\n";
}

void print_self(const qlora::SelfAgreement& self) {
  if (self.pairs == 0) {
    std::cout << "no question and pair was judged in both orders\n";
    return;
  }
  char text[240];
  std::snprintf(text, sizeof(text),
                "%td pairs in both orders: same verdict %.1f %%, Cohen kappa %.3f, Fleiss kappa "
                "%.3f; the first shown won both times in %td, the second in %td",
                self.pairs, 100 * self.same_share(), self.cohen, self.fleiss, self.first_both,
                self.second_both);
  std::cout << text << "\n";
}

json bradley_terry(const qlora::Tournament& set, const Rated& rated, const Settings& settings) {
  program::Table table({{"system"}, {"rating", 1}, {"low", 1}, {"high", 1}});
  std::cout << "\nBradley-Terry, maximum likelihood, 95 % intervals\n";
  try {
    const qlora::BradleyTerry result =
        qlora::bradley_terry(rated.matches, set.systems.size(),
                             {.resamples = settings.resamples, .seed = settings.elo.seed});
    for (const std::size_t s : best_first(rated.elo))
      table.add({set.systems[s], result.rating[s], result.low[s], result.high[s]});
    table.print(std::cout);
    if (result.resamples < settings.resamples)
      std::cout << settings.resamples - result.resamples
                << " resamples had no maximum and are left out\n";
  } catch (const qlora::NumericError& failure) {
    std::cout << failure.what() << "\n";
  }
  return table.json();
}

// Points of the same systems: names are compared without dots, hyphens and blanks.
json compare_protocols(const qlora::Tournament& set, const Rated& rated, const Settings& settings) {
  qlora::ReadingNotes notes;
  const qlora::PointSet points = qlora::read_points(settings.relative, settings.points, notes);
  program::warn(notes);
  const auto plain = [](const std::string& name) {
    std::string letters;
    for (const char c : name)
      if (std::isalnum(static_cast<unsigned char>(c)))
        letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return letters;
  };
  std::map<std::string, double> percent{{plain(points.reference), 100.0}};
  for (const auto& score : qlora::relative_scores(points, {.resamples = 0}))
    percent[plain(score.system)] = score.percent;
  std::vector<double> elo, relative;
  for (std::size_t s = 0; s < set.systems.size(); ++s) {
    const auto found = percent.find(plain(set.systems[s]));
    if (found == percent.end() || rated.played[s] == 0) continue;
    elo.push_back(rated.elo[s].mean);
    relative.push_back(found->second);
  }
  const double tau = qlora::kendall_tau(elo, relative), rho = qlora::spearman_rho(elo, relative);
  char text[160];
  std::snprintf(text, sizeof(text),
                "Elo against relative scores, %zu systems: Kendall tau %.3f, Spearman rho %.3f",
                elo.size(), tau, rho);
  std::cout << "\n" << text << "\n";
  return {{"systems", elo.size()},
          {"kendall_tau", program::number(tau)},
          {"spearman_rho", program::number(rho)},
          {"notes", program::json_of(notes)}};
}

json by_category(const qlora::Tournament& set, const Settings& settings) {
  const auto categories = qlora::read_categories(settings.questions);
  std::map<std::string, std::vector<char>> questions_of;
  std::size_t unknown = 0;
  for (std::size_t q = 0; q < set.questions.size(); ++q) {
    const auto found = categories.find(set.questions[q]);
    unknown += found == categories.end() ? 1 : 0;
    const std::string name = found == categories.end() ? "(no category)" : found->second;
    auto& chosen = questions_of[name];
    chosen.resize(set.questions.size(), 0);
    chosen[q] = 1;
  }
  if (unknown > 0)
    program::warn(std::to_string(unknown) + " questions have no category in " + settings.questions);
  json all = json::object();
  for (const auto& category : questions_of) {
    const std::string& name = category.first;
    const qlora::Tournament part = qlora::of_questions(
        set, [&](qlora::Index q) { return category.second[static_cast<std::size_t>(q)] != 0; });
    qlora::EloOptions options = settings.elo;
    options.progress = {};
    options.orders = std::min<qlora::Index>(options.orders, 2000);
    const Rated rated = rate(part, settings, options);
    const qlora::OrderBias bias = qlora::order_bias(part);
    std::cout << "\ncategory " << name << ", " << options.orders << " orders\n";
    program::Table table({{"system"},
                          {"rating", 1},
                          {"spread", 1},
                          {"matches"},
                          {"won", 3},
                          {"shown_first", 3},
                          {"shown_second", 3}});
    for (const std::size_t s : best_first(rated.elo)) {
      const qlora::SystemBias& system = bias.systems[s];
      table.add({set.systems[s], rated.elo[s].mean, rated.elo[s].spread, rated.played[s],
                 system.rate(), system.rate_first(), system.rate_second()});
    }
    table.print(std::cout);
    print_bias(bias);
    all[name] = {{"systems", table.json()},
                 {"order_bias", overall(bias)},
                 {"self_agreement", self_json(qlora::self_agreement(part))}};
  }
  return all;
}

void draw(const fs::path& folder) {
  program::draw_both(folder, "elo",
                     "set key off; set grid x; set yrange [:] reverse; "
                     "set xlabel 'Elo rating, mean and spread over the orders of the matches'; "
                     "set offsets 0, 0, 0.5, 0.5; "
                     "plot 'elo.csv' using 2:0:3:ytic(1) skip 1 with xerrorbars pointtype 7 "
                     "linewidth 2");
}

void run(const Settings& settings) {
  program::Report report(settings.report, {settings.folder, settings.relative, settings.questions});
  qlora::ReadingNotes notes;
  const qlora::Tournament set = qlora::read_tournament(settings.folder, notes);
  program::warn(notes);
  qlora::EloOptions options = settings.elo;
  program::ProgressBar bar(options.orders, stderr);
  options.progress = [&](const qlora::Progress& now) {
    if (bar.terminal()) bar.show(now.done, "orders");
    return true;
  };
  const Rated rated = rate(set, settings, options);
  qlora::require<qlora::FormatError>(!rated.matches.empty(), settings.folder,
                                     ": expected a question and pair judged in both orders, found "
                                     "none; try without --cancel-order-bias");
  const program::Table table = elo_table(set, rated);
  table.print(std::cout);
  std::cout << "\n"
            << rated.matches.size() << " matches, " << options.orders << " orders, k " << options.k
            << ", seed " << options.seed << "\n";

  const std::vector<std::size_t> order = best_first(rated.elo);
  json all = {{"elo", table.json()},
              {"orders", options.orders},
              {"seed", options.seed},
              {"k", options.k},
              {"matches", rated.matches.size()},
              {"cancel_order_bias", settings.cancel_order_bias},
              {"notes", program::json_of(notes)}};
  all["bradley_terry"] = bradley_terry(set, rated, settings);
  const qlora::OrderBias bias = qlora::order_bias(set);
  const program::Table biases = bias_table(set, bias, order);
  std::cout << "\norder bias: wins, ties as half, wherever and where it was shown\n";
  biases.print(std::cout);
  print_bias(bias);
  all["order_bias"] = overall(bias);
  all["order_bias"]["systems"] = biases.json();
  std::cout << "\nthe judge against itself\n";
  const qlora::SelfAgreement self = qlora::self_agreement(set);
  print_self(self);
  all["self_agreement"] = self_json(self);
  if (!settings.relative.empty()) all["protocols"] = compare_protocols(set, rated, settings);
  if (!settings.questions.empty()) all["categories"] = by_category(set, settings);

  if (const auto folder = report.write("elo", all, table)) draw(*folder);
  report.commit();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Elo and Bradley-Terry ratings from a judge's verdicts, order bias and agreement",
               "elo");
  Settings settings;
  settings.add_to(app);
  return program::run(app, argc, argv, [&] { run(settings); });
}
