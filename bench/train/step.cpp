// Tokens a second and peak memory of a training step, 2 x 256 tokens, LoRA of rank 16 on all
// projections:
//
//   build/bench/bench_train_step --model SmolLM2-135M-Instruct.Q4_1.gguf [--grad-checkpoint]
//
// Prints the median of the steps and VmHWM, the peak of resident memory since the start, loading
// included.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "qlora/text/dataset.hpp"
#include "qlora/train/trainer.hpp"
#include "support/model.hpp"

int main(int argc, char** argv) {
  CLI::App app("Speed and memory of a training step", "bench_train_step");
  std::string model_path, format = "nf4-dq", compute = "float32";
  qlora::Index steps = 12, batch = 2, length = 256;
  bool checkpoint = false;
  app.add_option("--model", model_path, "GGUF file or folder")->required();
  app.add_option("--format", format, "of the projections")->capture_default_str();
  app.add_option("--steps", steps, "timed steps; two more come before")->capture_default_str();
  app.add_option("--batch", batch, "rows")->capture_default_str();
  app.add_option("--seq-len", length, "tokens a row")->capture_default_str();
  program::add_compute(app, compute);
  app.add_flag("--grad-checkpoint", checkpoint, "keep less and compute more");
  CLI11_PARSE(app, argc, argv);

  const auto source = program::open_model(model_path);
  qlora::Llama<> model = program::load_model(*source, format, 0);
  model.set_compute(qlora::compute_from_name(compute));
  model.adapt({.rank = 16, .alpha = 16});
  std::vector<qlora::Token> ids;
  for (qlora::Index i = 0; i < batch * length; ++i)
    ids.push_back(
        static_cast<qlora::Token>(qlora::uniform_below(1, static_cast<std::uint64_t>(i), 40000)));
  const auto examples = qlora::windows(ids, length);
  qlora::Trainer trainer(model, examples,
                         {.steps = steps + 2, .batch = batch, .gradient_checkpoint = checkpoint});
  std::vector<double> rates;
  trainer.run([&](const qlora::StepMetrics& m) {
    if (m.done > 2) rates.push_back(m.tokens_per_second);
    return true;
  });
  std::nth_element(rates.begin(), rates.begin() + static_cast<qlora::Index>(rates.size() / 2),
                   rates.end());
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  std::cout << "threads " << qlora::thread_count() << ", " << batch << " x " << length
            << " tokens, " << format << ", " << compute
            << (checkpoint ? ", gradient checkpointing" : "") << ": median "
            << rates[rates.size() / 2] << " tokens/s, peak memory " << usage.ru_maxrss / 1024
            << " MiB\n";
}
