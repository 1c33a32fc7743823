// Prompt and generation speed of a model, one sequence:
//
//   build/bench/bench_generate --model SmolLM2-135M-Instruct.Q4_1.gguf [--format nf4-dq]
//
// The prompt of random tokens is read at once; then tokens are generated greedily, one a pass.
// Prints the best of several rounds in tokens a second.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "qlora/core/random.hpp"
#include "qlora/model/generate.hpp"
#include "support/model.hpp"

namespace {

template <class Body>
double tokens_a_second(qlora::Index tokens, Body&& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  return static_cast<double>(tokens) / spent.count();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Speed of reading a prompt and of generating", "bench_generate");
  program::ModelOptions options;
  qlora::Index prompt = 512, generated = 128, rounds = 5;
  options.add_to(app);
  app.add_option("--prompt", prompt, "tokens")->capture_default_str();
  app.add_option("--generated", generated, "tokens")->capture_default_str();
  app.add_option("--rounds", rounds, "of both")->capture_default_str();
  return program::run(app, argc, argv, [&] {
    const auto source = program::open_model(options.model);
    const qlora::Llama<> model = options.load(*source);
    std::vector<qlora::Token> ids;
    for (qlora::Index i = 0; i < prompt; ++i)
      ids.push_back(
          static_cast<qlora::Token>(qlora::uniform_below(1, static_cast<std::uint64_t>(i), 40000)));
    double reading = 0, writing = 0;
    for (qlora::Index round = 0; round < rounds; ++round) {
      auto cache = model.make_cache(prompt + generated);
      qlora::ColumnVector<float> logits;
      reading = std::max(reading,
                         tokens_a_second(prompt, [&] { logits = model.next_logits(ids, cache); }));
      writing = std::max(writing, tokens_a_second(generated, [&] {
                           for (qlora::Index i = 0; i < generated; ++i) {
                             const qlora::Token id = qlora::sample(logits, {}, 0);
                             logits = model.next_logits(std::span(&id, 1), cache);
                           }
                         }));
    }
    std::cout << "threads " << qlora::thread_count() << ", "
              << (options.format.empty() ? "nf4-dq" : options.format) << ", " << options.compute
              << ": prompt of " << prompt << " " << reading << " tokens/s, generation " << writing
              << " tokens/s\n";
  });
}
