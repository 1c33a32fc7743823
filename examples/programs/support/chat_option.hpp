// --chat-template of the programs that write chats: by name, from a file, what an adapter was tuned
// with, or the model's own.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "qlora/io/json_file.hpp"
#include "qlora/io/run_settings.hpp"
#include "qlora/text/chat_formats.hpp"
#include "qlora/text/chat_template.hpp"
#include "support/program.hpp"

namespace program {

class ChatOption {
 public:
  void add_to(CLI::App& app) {
    app.add_option("--chat-template", chosen_,
                   "how chats are written: " + qlora::chat_template_names() +
                       ", or a file in Jinja [the model's own]");
  }

  // The source that was asked for, or with which the adapter in a folder was tuned; empty: the
  // model's own.
  std::string source(const std::filesystem::path& adapter = {}) const {
    if (chosen_.empty()) {
      if (adapter.empty()) return "";
      const auto run = qlora::read_run_settings(adapter);
      return run ? run->chat_template : "";
    }
    const auto named = qlora::named_chat_template(chosen_);
    if (!named.empty()) return std::string(named);
    qlora::require<qlora::FormatError>(std::filesystem::exists(chosen_),
                                       "--chat-template: expected ", qlora::chat_template_names(),
                                       " or a file, found '", chosen_, "'");
    return qlora::read_text_file(chosen_);
  }

  // The source that was asked for, or null.
  nlohmann::json json() const {
    const std::string text = source();
    return text.empty() ? nlohmann::json() : nlohmann::json(text);
  }

  // Nothing for a model without a template when none was asked for.
  std::optional<qlora::ChatTemplate> find(const qlora::TokenizerData& data,
                                          const qlora::Tokenizer& tokenizer,
                                          const std::filesystem::path& adapter = {}) const {
    const std::string text = source(adapter);
    if (text.empty()) {
      if (data.chat_template.empty()) return std::nullopt;
      return std::optional<qlora::ChatTemplate>(std::in_place, data, tokenizer);
    }
    if (chosen_ == "chatml")
      for (const char* mark : {"<|im_start|>", "<|im_end|>"}) (void)tokenizer.special(mark);
    return std::optional<qlora::ChatTemplate>(
        std::in_place, data, tokenizer, text,
        chosen_.empty() ? adapter.string() + "/qlora.json: chat template" : chosen_);
  }

  // The same; throws FormatError when there is none.
  qlora::ChatTemplate get(const qlora::TokenizerData& data, const qlora::Tokenizer& tokenizer,
                          const std::filesystem::path& adapter = {}) const {
    auto chat = find(data, tokenizer, adapter);
    qlora::require<qlora::FormatError>(chat.has_value(), data.name,
                                       ": this model has no chat template; --chat-template gives "
                                       "one: ",
                                       qlora::chat_template_names(), " or a file");
    return std::move(*chat);
  }

 private:
  std::string chosen_;
};

}  // namespace program
