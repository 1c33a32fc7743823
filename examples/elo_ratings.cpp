// Elo ratings from a judge's verdicts, and whether another judge ranks the systems alike:
//
//   build/examples/elo_ratings ratings-gpt4/vicuna ratings-human/vicuna
//
// Without a folder it rates three made-up systems. A folder holds files named
// A-vs-B-REVIEWER.jsonl, arena battles or MT-bench's pairs.
#include <cstdio>
#include <iostream>
#include <map>
#include <qlora/tournament/agreement.hpp>
#include <qlora/tournament/elo.hpp>
#include <qlora/tournament/read_judgements.hpp>

// Names with their rating; a system without a match keeps 1000.
std::map<std::string, double> rate(const qlora::Tournament& set) {
  const auto matches = qlora::matches(set);
  const auto ratings = qlora::elo(matches, set.systems.size(), {.orders = 2000, .seed = 1});
  std::map<std::string, double> all;
  for (std::size_t s = 0; s < ratings.size(); ++s) {
    std::printf("%-30s %7.1f +- %.1f\n", set.systems[s].c_str(), ratings[s].mean,
                ratings[s].spread);
    all[set.systems[s]] = ratings[s].mean;
  }
  return all;
}

qlora::Tournament read(const char* folder) {
  qlora::ReadingNotes notes;  // names what can't be used: broken lines, unknown scores, ...
  const qlora::Tournament set = qlora::read_tournament(folder, notes);
  std::printf("%s: %td lines, %td without a verdict%s\n", folder, notes.lines, notes.unparsed,
              notes.first_unused().c_str());
  return set;
}

int main(int argc, char** argv) {
  using qlora::Verdict;
  try {
    if (argc < 2) {
      const qlora::Tournament made_up{{"mouse", "cat", "dog"},
                                      {"who is loudest?", "who is quickest?"},
                                      {{2, 1, 0, Verdict::first},  // the dog barks
                                       {1, 0, 0, Verdict::first},  // the cat meows
                                       {0, 1, 1, Verdict::first},  // the mouse escapes
                                       {1, 2, 1, Verdict::tie}}};
      rate(made_up);
      return 0;
    }
    const auto first = rate(read(argv[1]));
    if (argc < 3) return 0;
    const auto second = rate(read(argv[2]));
    std::vector<double> a, b;
    for (const auto& [system, rating] : first)
      if (const auto same = second.find(system); same != second.end()) {
        a.push_back(rating);
        b.push_back(same->second);
      }
    std::printf("%zu systems in both, Kendall tau %.3f\n", a.size(), qlora::kendall_tau(a, b));
  } catch (const qlora::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
