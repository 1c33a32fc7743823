// Perplexity of a model on a text, in consecutive windows, each predicting all but its first token:
//
//   perplexity --model SmolLM2-135M-Instruct.Q4_1.gguf --text jargon.txt --format nf4-dq
//
// The last line is "perplexity X tokens N".
#include <cmath>
#include <string>

#include "qlora/text/dataset.hpp"
#include "qlora/train/trainer.hpp"
#include "support/model.hpp"

namespace {

struct Settings {
  program::ModelOptions model;
  std::string text;
  qlora::Index seq_len = 512, max_windows = 0;

  void add_to(CLI::App& app) {
    model.add_to(app);
    app.add_option("--text", text, "a plain text file")->required();
    app.add_option("--seq-len", seq_len, "tokens a window")
        ->check(CLI::Range(2, 1 << 24))
        ->capture_default_str();
    app.add_option("--max-windows", max_windows, "stop after this many; 0: all")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
  }
};

void measure(const Settings& settings) {
  const auto source = program::open_model(settings.model.model);
  program::require_context(*source, settings.seq_len);
  const qlora::Tokenizer tokenizer(source->tokenizer());
  auto data = qlora::load_dataset(settings.text, tokenizer, nullptr, settings.seq_len).examples;
  if (settings.max_windows > 0 && settings.max_windows < static_cast<qlora::Index>(data.size()))
    data.resize(static_cast<std::size_t>(settings.max_windows));
  qlora::Llama<> model = settings.model.load(*source);
  qlora::CrossEntropy total;
  for (qlora::Index window = 0; window < static_cast<qlora::Index>(data.size()); ++window) {
    const qlora::Batch batch = qlora::make_batch(data, {{window}});
    const qlora::CrossEntropy part = model.loss(batch.ids, batch.targets, batch.layout);
    total.sum += part.sum;
    total.counted += part.counted;
    if ((window + 1) % 16 == 0)
      std::cerr << "window " << window + 1 << " of " << data.size() << ": "
                << std::exp(total.sum / static_cast<double>(total.counted)) << "\n";
  }
  std::cout << "perplexity " << std::exp(total.sum / static_cast<double>(total.counted))
            << " tokens " << total.counted << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Perplexity of a Llama model on a text", "perplexity");
  Settings settings;
  settings.add_to(app);
  return program::run(app, argc, argv, [&] { measure(settings); });
}
