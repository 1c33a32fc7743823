// Any text as a template, rendered for a conversation, and its output looked through for messages.
#include "qlora/text/jinja.hpp"

#include "fuzz.hpp"
#include "qlora/text/chat_trace.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const nlohmann::ordered_json messages = nlohmann::ordered_json::parse(R"([
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi <|end|> \u00e9"},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, 2.5, null]}}}]},
    {"role": "tool", "name": "f", "content": "3"},
    {"role": "assistant", "content": "Yes", "reasoning": "because"}])");
  static const qlora::SpecialTokens special = [] {
    qlora::SpecialTokens tokens;
    tokens.add("<|end|>", 1);
    return tokens;
  }();
  return fuzz::run([&] {
    const qlora::jinja::Template parsed({reinterpret_cast<const char*>(data), size}, "fuzz");
    const qlora::jinja::RenderOptions options{
        .now = [] { return std::tm{}; },
        .limits = {.steps = 200'000, .bytes = 1 << 20, .items = 100'000, .depth = 200}};
    const auto text = parsed.render({{"messages", qlora::messages_value(messages)},
                                     {"tools", qlora::jinja::None{}},
                                     {"bos_token", qlora::jinja::Text("<s>")},
                                     {"add_generation_prompt", true}},
                                    options);
    const qlora::ChatTrace trace(text, messages.size(), special);
    for (std::size_t i = 0; i < messages.size(); ++i)
      (void)trace.turn(i, i == 2, "<|end|>a", 7, {.before = "b", .ends = {1}});
  });
}
