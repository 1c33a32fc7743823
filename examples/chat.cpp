// Chats with a Llama model in 4 bits, with or without an adapter:
//
//   chat --model SmolLM2-135M-Instruct.Q4_1.gguf --adapter out --prompt "What does foo mean?"
//
// Without --prompt it reads one message a line until the input ends.
#include <iostream>
#include <string>

#include "qlora/model/generate.hpp"
#include "support/chat_option.hpp"
#include "support/model.hpp"

namespace {

struct Settings {
  program::ModelOptions model;
  program::ChatOption chat;
  std::string prompt, system;
  qlora::SampleOptions sample;

  void add_to(CLI::App& app) {
    model.add_to(app);
    chat.add_to(app);
    app.add_option("--prompt", prompt, "ask this and stop");
    app.add_option("--system", system, "system message [the model's own]");
    app.add_option("--max-tokens", sample.new_tokens, "tokens an answer at most")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--temperature", sample.temperature, "0: greedy")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--top-k", sample.top_k, "sample from the k likeliest; 0: all")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--top-p", sample.top_p, "sample from the likeliest that reach this probability")
        ->check(CLI::Range(0.0, 1.0))
        ->capture_default_str();
    app.add_option("--seed", sample.seed, "of the sampling")->capture_default_str();
  }
};

// Prints the answer as it comes, whole characters only, and returns it.
std::string answer(const qlora::Llama<>& model, const qlora::Tokenizer& tokenizer,
                   const qlora::ChatTemplate& chat, const std::vector<qlora::ChatMessage>& messages,
                   const qlora::SampleOptions& options) {
  const qlora::EncodedText prompt = chat.encode(messages, true);
  std::string bytes;
  std::size_t shown = 0;
  qlora::generate(model, prompt.ids, options, [&](qlora::Token id) {
    if (id == chat.end_of_message() || id == tokenizer.end_of_sequence()) return false;
    bytes += tokenizer.piece(id);
    const std::size_t whole =
        shown + qlora::utf8_complete_prefix(std::string_view(bytes).substr(shown));
    std::cout << qlora::repair_utf8(std::string_view(bytes).substr(shown, whole - shown))
              << std::flush;
    shown = whole;
    return true;
  });
  std::cout << qlora::repair_utf8(std::string_view(bytes).substr(shown)) << "\n";
  return qlora::repair_utf8(bytes);
}

void run_chat(const Settings& settings) {
  const auto source = program::open_model(settings.model.model);
  const qlora::TokenizerData data = source->tokenizer();
  const qlora::Tokenizer tokenizer(data);
  const qlora::ChatTemplate chat = settings.chat.get(data, tokenizer, settings.model.adapter);
  const qlora::Llama<> model = settings.model.load(*source);
  std::vector<qlora::ChatMessage> messages;
  if (!settings.system.empty()) messages.push_back({"system", settings.system});
  if (!settings.prompt.empty()) {
    messages.push_back({"user", settings.prompt});
    answer(model, tokenizer, chat, messages, settings.sample);
    return;
  }
  std::string line;
  while (std::cout << "> " << std::flush, std::getline(std::cin, line)) {
    if (line.empty()) continue;
    messages.push_back({"user", line});
    messages.push_back({"assistant", answer(model, tokenizer, chat, messages, settings.sample)});
  }
  std::cout << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Chat with a Llama model in 4 bits", "chat");
  Settings settings;
  settings.add_to(app);
  return program::run(app, argc, argv, [&] { run_chat(settings); });
}
