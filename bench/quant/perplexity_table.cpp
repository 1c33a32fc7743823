// Every named format on a real model: bits a weight and perplexity on a text, as a table in
// Markdown.
//
//   build/bench/perplexity_table --model SmolLM2-135M-Instruct.Q4_1.gguf --text jargon.txt
//
// The projections are quantized, embedding and norms are not. The text's second half is cut into
// windows of --seq-len tokens, each predicting all but its first; --windows of them are measured,
// evenly spaced, the same for every format. Each line appears as it is ready.
#include <cmath>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "qlora/io/json_file.hpp"
#include "qlora/quant/visit_format.hpp"
#include "qlora/text/dataset.hpp"
#include "qlora/train/trainer.hpp"
#include "support/model.hpp"

namespace {

using qlora::Index;

// Windows of a text's second half, evenly spaced.
std::vector<qlora::EncodedText> windows_of(const std::string& text,
                                           const qlora::Tokenizer& tokenizer, Index length,
                                           Index count) {
  const auto ids = tokenizer.encode_plain(text);
  const auto all =
      qlora::windows({ids.begin() + static_cast<Index>(ids.size() / 2), ids.end()}, length);
  const auto available = static_cast<Index>(all.size());
  if (count == 0 || count > available) count = available;
  std::vector<qlora::EncodedText> chosen;
  for (Index i = 0; i < count; ++i)
    chosen.push_back(all[static_cast<std::size_t>(i * available / count)]);
  return chosen;
}

// Bits of a projection's weight, scales included, over the whole model.
double bits_a_weight(const qlora::Llama<>& model) {
  double bytes = 0, weights = 0;
  for (const auto& block : model.blocks)
    for (const auto& projection : block.projections) {
      bytes += static_cast<double>(projection.base().bytes());
      weights += static_cast<double>(projection.rows() * projection.cols());
    }
  return 8 * bytes / weights;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Perplexity of a model in every format", "perplexity_table");
  std::string model_path, text_path;
  std::vector<std::string> formats{"float", "as-is"};
  formats.insert(formats.end(), qlora::format_names.begin(), qlora::format_names.end());
  Index length = 512, count = 32;
  app.add_option("--model", model_path, "GGUF file or folder")->required();
  app.add_option("--text", text_path, "a plain text file; its second half is measured")->required();
  app.add_option("--formats", formats, "which ones [all]");
  app.add_option("--seq-len", length, "tokens a window")->capture_default_str();
  app.add_option("--windows", count, "how many; 0: all")->capture_default_str();
  return program::run(app, argc, argv, [&] {
    const auto source = program::open_model(model_path);
    program::require_context(*source, length);
    const qlora::Tokenizer tokenizer(source->tokenizer());
    const auto windows = windows_of(qlora::read_text_file(text_path), tokenizer, length, count);
    std::printf(
        "%zu windows of %td tokens\n\n| format | bits a weight | perplexity | of float's "
        "|\n|---|---|---|---|\n",
        windows.size(), length);
    double exact = 0;
    for (const auto& format : formats) {
      qlora::Llama<> model = program::load_model(*source, format, 0);
      const double value = std::exp(qlora::mean_loss(model, windows, 1));
      if (format == "float") exact = value;
      std::printf("| %s | %.3f | %.2f | %.3f |\n", format.c_str(), bits_a_weight(model), value,
                  exact > 0 ? value / exact : 1.0);
      std::fflush(stdout);
    }
  });
}
