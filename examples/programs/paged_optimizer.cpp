// AdamW over more state than may be in memory:
//
//   paged_optimizer --directory build/paged --state 4GiB --budget 256MiB
//
// Parameters of that many bytes of state move along made-up gradients; their state lives in a file
// below DIRECTORY. Resident memory and throughput are drawn over time beside the budget (paged.png,
// paged.csv), and
// with --check the same steps run in plain memory and must give the same bits.
#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "qlora/optim/make_optimizer.hpp"
#include "qlora/train/metrics.hpp"
#include "support/checks.hpp"
#include "support/output.hpp"
#include "support/picture.hpp"
#include "support/program.hpp"
#include "support/progress.hpp"
#include "support/signals.hpp"
#include "support/table.hpp"

namespace {

using qlora::Index;

// Parameters in tensors as large as those of a model of billions, all of them moving.
struct Parameters {
  std::vector<qlora::Parameter<float>> tensors;
  qlora::ParameterList<float> list;

  explicit Parameters(Index count) {
    constexpr Index width = 4096;
    for (Index left = (count + width - 1) / width; left > 0; left -= 1024)
      tensors.emplace_back("tensor " + std::to_string(tensors.size()), std::min<Index>(left, 1024),
                           width);
    for (auto& tensor : tensors) {
      tensor.value.setConstant(1);
      list.push_back(&tensor);
    }
  }
  // Gradients that differ from number to number and from step to step.
  void gradients(Index step) {
    qlora::parallel_for(static_cast<Index>(tensors.size()), [&](Index t) {
      auto& tensor = tensors[static_cast<std::size_t>(t)];
      for (Index i = 0; i < tensor.grad.size(); ++i)
        tensor.grad.data()[i] =
            static_cast<float>((i * 37 + t * 11 + step * 101) % 257 - 128) / 512.f;
    });
  }
  bool operator==(const Parameters& other) const {
    for (std::size_t t = 0; t < tensors.size(); ++t)
      if (tensors[t].value != other.tensors[t].value) return false;
    return true;
  }
};

// Resident memory and throughput from time to time.
class Watch {
 public:
  // bytes: of state that went through memory so far.
  explicit Watch(const std::atomic<Index>& bytes)
      : thread_([this, &bytes](const std::stop_token& stop) {
          const auto start = std::chrono::steady_clock::now();
          double before = 0;
          Index done = 0;
          do {
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
            const double now =
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            const Index all = bytes;
            const double rate = static_cast<double>(all - done) / (now - before) / (1 << 30);
            table_.add({now, qlora::resident_mib(), rate});
            done = all;
            before = now;
          } while (!stop.stop_requested());
        }) {}

  // What was seen; ends the watching.
  std::string csv() {
    thread_.request_stop();
    thread_.join();
    return table_.csv();
  }

 private:
  program::Table table_{{{"seconds"}, {"resident_mib"}, {"gib_per_second"}}};
  std::jthread thread_;
};

// Two panels, so that neither curve hides the other: memory above what the process had before, with
// the budget, and throughput.
std::string script_of(double before_mib, double budget_mib) {
  return "set terminal pngcairo size 900,640 font 'sans,11'; set multiplot layout 2,1; set grid; "
         "set key above right; set lmargin 12; set rmargin 4; set yrange [0:*]; "
         "set offsets graph 0, graph 0, graph 0.1, graph 0; "
         "set ylabel 'MiB above parameters'; plot 'paged.csv' using 1:($2 - " +
         std::to_string(before_mib) +
         ") skip 1 with lines linewidth 2 linecolor rgb '#4477aa' title 'resident memory', " +
         std::to_string(budget_mib) +
         " with lines dashtype 2 linewidth 2 linecolor rgb '#ee6677' title 'budget'; "
         "set xlabel 'seconds'; set ylabel 'GiB of state per second'; plot 'paged.csv' using 1:3 "
         "skip 1 with lines linewidth 2 linecolor rgb '#228833' title 'throughput'";
}

struct Settings {
  std::string directory = "build/paged", optimizer = "adamw";
  std::size_t state = std::size_t{4} << 30, budget = std::size_t{256} << 20;
  Index steps = 5;
  bool check = false, overwrite = false;
};

void run(const Settings& settings) {
  program::OutputFolder output;
  const program::StopSignals signals([&] { output.discard(); });
  output.open(settings.directory, {.overwrite = settings.overwrite});
  // How much state a number has is known from one step of a few.
  Parameters few(1 << 20);
  auto probe = qlora::make_optimizer<float>({.name = settings.optimizer});
  probe.step(few.list);
  const double each = static_cast<double>(probe.state_bytes()) / (1 << 20);
  const auto count = static_cast<Index>(static_cast<double>(settings.state) / each);

  Parameters parameters(count);
  const double before = qlora::resident_mib();
  qlora::FilePagerOptions files{output.path(), {.budget = settings.budget}};
  files.resident.extent_bytes =
      std::min(files.resident.extent_bytes, settings.budget / 4 / 4096 * 4096);
  auto optimizer = qlora::make_optimizer<float>({.name = settings.optimizer, .paged = files});
  std::atomic<Index> bytes = 0;
  double most = 0;
  {
    Watch watch(bytes);
    program::ProgressBar bar(settings.steps);
    for (Index step = 0; step < settings.steps; ++step) {
      parameters.gradients(step);
      const auto start = std::chrono::steady_clock::now();
      optimizer.step(parameters.list);
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
      bytes += 2 * optimizer.state_bytes();
      most = std::max(most, qlora::resident_mib() - before);
      char text[160];
      std::snprintf(text, sizeof(text), "step %td/%td  %.2f GiB of state per second", step + 1,
                    settings.steps,
                    static_cast<double>(optimizer.state_bytes()) / spent.count() / (1 << 30));
      bar.show(step + 1, text);
    }
    qlora::write_text_file(output.path() / "paged.csv", watch.csv());
  }
  const qlora::PagerCounters counters = optimizer.counters();
  std::printf("state %td MiB, budget %zu MiB, resident %.0f MiB at most above %.0f MiB before\n",
              optimizer.state_bytes() >> 20, settings.budget >> 20, most, before);
  std::printf("extents: %td ahead of their use, %td not; %td waits, %.1f s\n", counters.prefetched,
              counters.faults, counters.stalls, counters.stalled_seconds);
  program::draw(output.path(), "paged.png",
                script_of(before, static_cast<double>(settings.budget) / (1 << 20)));
  output.commit();
  if (!settings.check) return;
  Parameters plain(count);
  auto in_memory = qlora::make_optimizer<float>({.name = settings.optimizer});
  for (Index step = 0; step < settings.steps; ++step) {
    plain.gradients(step);
    in_memory.step(plain.list);
  }
  qlora::require<qlora::NumericError>(plain == parameters,
                                      "expected the bits that plain memory gives, found others");
  std::printf("the same bits as in plain memory\n");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("An optimizer whose state does not fit in memory", "paged_optimizer");
  Settings settings;
  app.add_option("--directory", settings.directory, "folder for the state's file and the picture")
      ->capture_default_str();
  app.add_option("--optimizer", settings.optimizer, "update rule")
      ->check(program::one_of(qlora::optimizer_names()))
      ->capture_default_str();
  app.add_option("--state", settings.state, "bytes of state, such as 4GiB")
      ->transform(CLI::AsSizeValue(false))
      ->check(program::at_least<std::size_t>(std::size_t{1} << 20));
  app.add_option("--budget", settings.budget, "bytes of it in memory, such as 256MiB")
      ->transform(CLI::AsSizeValue(false))
      ->check(program::at_least<std::size_t>(std::size_t{1} << 20));
  app.add_option("--steps", settings.steps, "updates")
      ->check(program::at_least<Index>(1))
      ->capture_default_str();
  app.add_flag("--check", settings.check, "compare with plain memory");
  app.add_flag("--overwrite", settings.overwrite, "replace the whole --directory");
  app.footer(
      "Examples:\n"
      "  paged_optimizer --directory build/paged --state 4GiB --budget 256MiB\n"
      "  paged_optimizer --directory /scratch/paged --optimizer adamw8bit --state 256MiB --check");
  return program::run(app, argc, argv, [&] { run(settings); });
}
