// Perplexity of a model on a text, in consecutive windows, each predicting all but its first token:
//
//   perplexity --model SmolLM2-135M-Instruct.Q4_1.gguf --text jargon.txt --format nf4-dq
//
// The last line is "perplexity X tokens N".
#include <string>

#include "qlora/eval/perplexity.hpp"
#include "qlora/text/data_file.hpp"
#include "support/checks.hpp"
#include "support/format_check.hpp"
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
        ->check(program::between<qlora::Index>(2, 1 << 24))
        ->capture_default_str();
    app.add_option("--max-windows", max_windows, "stop after this many; 0: all")
        ->check(program::at_least<qlora::Index>(0))
        ->capture_default_str();
    program::check_block_size(app, model);
    app.footer(
        "The text is plain UTF-8. The last line is \"perplexity X tokens N\".\n\n"
        "Examples:\n"
        "  perplexity --model SmolLM2-135M-Instruct.Q4_1.gguf --text jargon.txt --format nf4-dq\n"
        "  perplexity --model SmolLM2-135M-Instruct --adapter out --text jargon.txt --seq-len 256");
  }
};

void measure(const Settings& settings) {
  const auto source = program::open_model(settings.model.model);
  program::require_context(*source, settings.seq_len);
  const qlora::Tokenizer tokenizer(program::tokenizer_data(*source));
  const auto ids = tokenizer.encode_document(qlora::read_data_text(settings.text));
  qlora::require<qlora::FormatError>(static_cast<qlora::Index>(ids.size()) >= settings.seq_len,
                                     settings.text, ": expected at least ", settings.seq_len,
                                     " tokens, found ", ids.size());
  qlora::Llama<> model = settings.model.load(*source);
  const auto result = qlora::perplexity(model, ids,
                                        {.window = settings.seq_len,
                                         .max_windows = settings.max_windows,
                                         .progress = [](const qlora::PerplexityProgress& now) {
                                           if (now.done % 16 == 0)
                                             std::cerr << "window " << now.done << " of "
                                                       << now.total << ": "
                                                       << now.so_far.per_token() << "\n";
                                           return true;
                                         }});
  std::cout << "perplexity " << result.per_token() << " tokens " << result.tokens << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Perplexity of a Llama model on a text", "perplexity");
  Settings settings;
  settings.add_to(app);
  return program::run(app, argc, argv, [&] { measure(settings); });
}
