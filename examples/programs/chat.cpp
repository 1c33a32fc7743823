// Chats with a Llama model in 4 bits, with or without an adapter:
//
//   chat --model SmolLM2-135M-Instruct.Q4_1.gguf --adapter out --prompt "What does foo mean?"
//
// Without --prompt it reads one message a line until the input ends.
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "qlora/model/answer.hpp"
#include "support/chat_option.hpp"
#include "support/checks.hpp"
#include "support/format_check.hpp"
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
    app.add_option("--prompt", prompt, "ask this and stop")->check(program::not_blank());
    app.add_option("--system", system, "system message [the model's own]");
    app.add_option("--max-tokens", sample.new_tokens,
                   "tokens an answer at most, and no more than the context has left")
        ->check(program::at_least<qlora::Index>(1))
        ->capture_default_str();
    app.add_option("--temperature", sample.temperature, "0: greedy")
        ->check(program::at_least<float>(0))
        ->capture_default_str();
    app.add_option("--top-k", sample.top_k, "sample from the k likeliest; 0: all")
        ->check(program::at_least<qlora::Index>(0))
        ->capture_default_str();
    app.add_option("--top-p", sample.top_p, "sample from the likeliest that reach this probability")
        ->check(program::between<float>(0, 1))
        ->capture_default_str();
    app.add_option("--seed", sample.seed, "of the sampling")
        ->check(program::any_number<std::uint64_t>())
        ->capture_default_str();
    program::check_block_size(app, model);
    app.footer(
        "Without --prompt it reads one message a line until the input ends. When the context is "
        "full\nthe oldest messages are left out.\n\n"
        "Examples:\n"
        "  chat --model SmolLM2-135M-Instruct.Q4_1.gguf --prompt \"What is a hack?\"\n"
        "  chat --model SmolLM2-135M-Instruct.Q4_1.gguf --adapter out --temperature 0.7 --top-p "
        "0.9");
  }
};

// Prints the answer as it comes, and what had to be left out.
std::string say(const qlora::Llama<>& model, const qlora::Tokenizer& tokenizer,
                const qlora::ChatTemplate& chat, std::vector<qlora::ChatMessage>& messages,
                const qlora::SampleOptions& options) {
  const auto answer =
      qlora::answer(model, tokenizer, chat, messages, options, [](std::string_view text) {
        std::cout << text << std::flush;
        return true;
      });
  std::cout << "\n" << std::flush;
  if (answer.dropped > 0)
    program::warn("the context is full: the oldest " + std::to_string(answer.dropped) +
                  " messages were left out");
  if (answer.context_full)
    program::warn("the answer ends here because the context is full; ask for shorter ones");
  return answer.text;
}

void run_chat(const Settings& settings) {
  const auto source = program::open_model(settings.model.model);
  const qlora::TokenizerData data = program::tokenizer_data(*source);
  const qlora::Tokenizer tokenizer(data);
  const qlora::ChatTemplate chat = settings.chat.get(data, tokenizer, settings.model.adapter);
  const qlora::Llama<> model = settings.model.load(*source);
  std::vector<qlora::ChatMessage> messages;
  if (!settings.system.empty()) messages.push_back({"system", settings.system});
  if (!settings.prompt.empty()) {
    messages.push_back({"user", settings.prompt});
    say(model, tokenizer, chat, messages, settings.sample);
    return;
  }
  std::string line;
  while (std::cout << "> " << std::flush, std::getline(std::cin, line)) {
    if (line.empty()) continue;
    messages.push_back({"user", line});
    try {
      const std::string text = say(model, tokenizer, chat, messages, settings.sample);
      messages.push_back({"assistant", text});
    } catch (const qlora::ShapeError& failure) {
      messages.pop_back();  // the conversation goes on without it
      program::warn(failure.what());
    }
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
