/// Chat templates by name, for base models that come without one.
///
///     qlora::ChatTemplate chat(tokenizer_data, tokenizer, qlora::named_chat_template("alpaca"), "alpaca");
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

namespace text_detail {

struct NamedChatTemplate {
  std::string_view name, source;
};

inline constexpr std::array<NamedChatTemplate, 2> named_chat_templates = {{
    // Of OpenAI's chat markup language; no default system message.
    {"chatml",
     R"({% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})"},
    // The prompt of Stanford's Alpaca, which the QLoRA paper's training script used; a system
    // message
    // replaces the sentences at its head.
    {"alpaca",
     R"({{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}{% else %}{{ 'Below is an instruction that describes a task. Write a response that appropriately completes the request.' }}{% endif %}{% for message in messages %}{% if message['role'] == 'user' %}{{ '\n\n### Instruction:\n' + message['content'] + '\n\n### Response:\n' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}{% elif not loop.first or message['role'] != 'system' %}{{ raise_exception('the role ' + message['role'] + ' has no place in this format') }}{% endif %}{% endfor %})"},
}};

}  // namespace text_detail

/// The known names with commas between them, for messages: "chatml, alpaca".
inline std::string chat_template_names() {
  std::string names;
  for (const auto& each : text_detail::named_chat_templates)
    names += (names.empty() ? "" : ", ") + std::string(each.name);
  return names;
}

/// The source of a template by name; empty for a name that is not known.
inline std::string_view named_chat_template(std::string_view name) {
  for (const auto& each : text_detail::named_chat_templates)
    if (each.name == name) return each.source;
  return {};
}

}  // namespace qlora::inline QLORA_ABI
