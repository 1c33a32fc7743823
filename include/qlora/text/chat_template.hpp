/// Chats as token ids. The ChatML family of templates is recognized in the file's Jinja text, its
/// default system message included; other templates are refused.
///
///     qlora::ChatTemplate chat(tokenizer_data, tokenizer);
///     auto prompt = chat.encode({{"user", "What is a hack?"}}, true);  // the assistant's turn next
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "qlora/text/regex.hpp"
#include "qlora/text/tokenizer.hpp"

namespace qlora {

struct ChatMessage {
  std::string role;  ///< system, user or assistant
  std::string content;
};

/// Tokens, and for each whether it counts as a target of the loss.
struct EncodedText {
  std::vector<Token> ids;
  std::vector<std::uint8_t> counted;

  void push(Token id, bool counts) {
    ids.push_back(id);
    counted.push_back(counts ? 1 : 0);
  }
};

/// What of a chat is trained on: assistants' messages, or users' as well.
enum class TrainOn : std::uint8_t { answers, questions_and_answers };

class ChatTemplate {
 public:
  /// Throws FormatError for a tokenizer without a ChatML template.
  ChatTemplate(const TokenizerData& data, const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {
    const std::string& jinja = data.chat_template;
    require<FormatError>(jinja.find("<|im_start|>") != std::string::npos &&
                             jinja.find("<|im_end|>") != std::string::npos &&
                             jinja.find("add_generation_prompt") != std::string::npos,
                         data.name,
                         ": chat template: expected a ChatML template (<|im_start|>role ... "
                         "<|im_end|>), found ",
                         jinja.empty() ? "none" : "another");
    start_ = tokenizer.special("<|im_start|>");
    end_ = tokenizer.special("<|im_end|>");
    const std::string text = repair_utf8(jinja);  // the match points into it
    if (const auto match =
            Regex(R"((?s)<\|im_start\|>system(?:\\n|\n)([^{}]*?)<\|im_end\|>)").find(text))
      default_system_ = std::string((*match)[1]);
  }

  Token end_of_message() const { return end_; }
  const std::string& default_system() const { return default_system_; }

  /// `start role newline content end newline` a message; the default system message comes first
  /// when the chat has none. Counted: the contents that are trained on and their end. With
  /// `answer`, the assistant's header follows.
  EncodedText encode(const std::vector<ChatMessage>& messages, bool answer = false,
                     TrainOn train_on = TrainOn::answers) const {
    EncodedText text;
    if (!default_system_.empty() && (messages.empty() || messages.front().role != "system"))
      append(text, {"system", default_system_}, false);
    for (const ChatMessage& message : messages)
      append(text, message,
             message.role == "assistant" ||
                 (message.role == "user" && train_on == TrainOn::questions_and_answers));
    if (answer) {
      text.push(start_, false);
      for (const Token id : tokenizer_->encode_plain("assistant\n")) text.push(id, false);
    }
    return text;
  }

 private:
  void append(EncodedText& text, const ChatMessage& message, bool counts) const {
    text.push(start_, false);
    // Role and content are encoded together, as the template's text is; a token counts when it
    // holds bytes of the content.
    const std::size_t header = message.role.size() + 1;
    std::size_t end = 0;
    for (const Token id : tokenizer_->encode_plain(message.role + "\n" + message.content)) {
      end += tokenizer_->piece(id).size();
      text.push(id, counts && end > header);
    }
    text.push(end_, counts);
    for (const Token id : tokenizer_->encode_plain("\n")) text.push(id, false);
  }

  const Tokenizer* tokenizer_;
  Token start_ = 0, end_ = 0;
  std::string default_system_;
};

}  // namespace qlora
