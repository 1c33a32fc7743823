/// Chats as token ids: the model's own template is rendered, and the rendering says which of the
/// text the assistant wrote.
///
///     qlora::ChatTemplate chat(tokenizer_data, tokenizer);
///     auto prompt = chat.encode({{"user", "What is a hack?"}}, true);  // the assistant's turn next
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/chat.hpp"
#include "qlora/text/chat_trace.hpp"
#include "qlora/text/encoded_text.hpp"
#include "qlora/text/tokenizer.hpp"

namespace qlora::inline QLORA_ABI {

/// Turns conversations into tokens by one template. Several threads may call its const members at
/// once. The tokenizer must outlive it.
class ChatTemplate {
 public:
  /// The template of the tokenizer's file. Throws FormatError without one, and for one that does
  /// not write a conversation as it is.
  ChatTemplate(const TokenizerData& data, const Tokenizer& tokenizer,
               jinja::RenderOptions options = {})
      : ChatTemplate(data, tokenizer, own_template(data), data.name + ": chat template",
                     std::move(options)) {}

  /// Another template, named `name` in messages. `tokenizer` must live as long as this.
  ChatTemplate(const TokenizerData& data, const Tokenizer& tokenizer, std::string_view source,
               const std::string& name, jinja::RenderOptions options = {})
      : tokenizer_(&tokenizer), template_(source, name), options_(std::move(options)) {
    const auto name_token = [&](const char* variable, const std::optional<Token>& id) {
      if (id && *id >= 0 && static_cast<std::size_t>(*id) < data.tokens.size())
        variables_.emplace_back(variable, jinja::Text(data.tokens[static_cast<std::size_t>(*id)]));
    };
    name_token("bos_token", data.begin);
    name_token("eos_token", data.end);
    name_token("unk_token", data.unknown);
    name_token("pad_token", data.padding);
    for (std::size_t id = 0; id < data.tokens.size(); ++id)
      if (tokenizer.is_special(static_cast<Token>(id)))
        special_.add(data.tokens[id], static_cast<Token>(id));
    try {
      learn_marks();
    } catch (const FormatError& failure) {
      throw FormatError(message(name, ": of a conversation of four messages: ", failure.what()));
    }
  }

  /// The special token that ends an assistant's answer: the template's, or else the end of the
  /// sequence; -1 without either.
  Token end_of_message() const { return answer_.ends.empty() ? Token{-1} : answer_.ends.front(); }

  /// The text of a chat. With `answer`, it ends where the assistant begins to speak. Throws
  /// FormatError, with the line, for what the template refuses or what is not supported of it.
  std::string render(const Chat& chat, bool answer = false) const {
    return rendered(chat, answer).bytes;
  }

  /// The tokens of that text. Special tokens count as such where the template writes them; what
  /// messages say is plain text. Counted: the messages that are trained on, up to the end of their
  /// turn; of assistants' messages what `{% generation %}` encloses, where the template has it.
  /// Throws FormatError for a message, its calls of tools or tools that the template leaves out or
  /// changes beyond recognition.
  EncodedText encode_chat(const Chat& chat, bool answer = false,
                          TrainOn train_on = TrainOn::answers) const {
    const jinja::Text text = rendered(chat, answer);
    const ChatTrace trace(text, chat.messages.size(), special_);
    require_written(chat, trace);
    std::vector<TextRange> counted = generated(text, chat, trace);
    for (std::size_t i = 0; i < chat.messages.size(); ++i) {
      const Chat::Json& message = chat.messages[i];
      const auto role = message.at("role").get<std::string>();
      const bool asks = role == "user" && train_on == TrainOn::questions_and_answers;
      if (!asks && (role != "assistant" || template_.has_generation())) continue;
      if (!chat.is_trained(i)) continue;
      try {
        counted.push_back(trace.turn(i, says_nothing(message), asks ? "" : header_, header_mark_,
                                     asks ? question_ : answer_));
      } catch (const FormatError& failure) {
        throw FormatError(qlora::message(template_.name(), ": ", failure.what()));
      }
    }
    std::sort(counted.begin(), counted.end(),
              [](const TextRange& a, const TextRange& b) { return a.begin < b.begin; });
    return marked(text.bytes, ids_of(text.bytes, trace.special_tokens()), counted);
  }

  /// The same for messages that have a role and a content.
  EncodedText encode(const std::vector<ChatMessage>& messages, bool answer = false,
                     TrainOn train_on = TrainOn::answers) const {
    return encode_chat(to_chat(messages), answer, train_on);
  }

 private:
  static const std::string& own_template(const TokenizerData& data) {
    require<FormatError>(!data.chat_template.empty(), data.name,
                         ": expected a chat template, found none");
    return data.chat_template;
  }

  jinja::Text rendered(const Chat& chat, bool answer) const {
    jinja::Variables variables = variables_;
    try {
      variables.emplace_back("messages", messages_value(chat.messages));
      variables.emplace_back("tools", jinja::from_json(chat.tools, from_tools));
      variables.emplace_back("documents", jinja::None{});
      variables.emplace_back("add_generation_prompt", answer);
      for (const auto& [name, value] : chat.variables.items())
        variables.emplace_back(name, jinja::from_json(value, from_variables));
    } catch (const jinja::Failure& failure) {
      throw FormatError(failure.what());
    }
    return template_.render(std::move(variables), options_);
  }

  static bool says_nothing(const Chat::Json& message) {
    for (const auto& [name, value] : message.items())
      if (text_detail::part_of_field(name) != ChatPart::other && !text_detail::is_blank(value))
        return false;
    return true;
  }

  /// Throws FormatError where the template leaves out what the chat has to say.
  void require_written(const Chat& chat, const ChatTrace& trace) const {
    require<FormatError>(text_detail::is_blank(chat.tools) || trace.writes_tools(),
                         template_.name(), ": the template does not write the tools");
    for (std::size_t i = 0; i < chat.messages.size(); ++i) {
      const Chat::Json& said = chat.messages[i];
      for (const char* calls : {"tool_calls", "function_call"})
        require<FormatError>(
            !said.contains(calls) || text_detail::is_blank(said.at(calls)) || trace.writes_calls(i),
            template_.name(), ": message ", i + 1, ": the template does not write its ", calls);
      if (said.at("role") == "assistant") continue;
      require<FormatError>(!said.contains("content") || text_detail::is_blank(said.at("content")) ||
                               trace.content(i),
                           template_.name(), ": message ", i + 1,
                           ": the template does not write what the ",
                           said.at("role").get<std::string>(), " says as it is");
    }
  }

  /// What generation blocks wrote, without the messages that are not trained on.
  static std::vector<TextRange> generated(const jinja::Text& text, const Chat& chat,
                                          const ChatTrace& trace) {
    std::vector<TextRange> ranges;
    for (const jinja::Span& span : text.spans) {
      if (span.origin != jinja::generation_origin || span.begin == span.end) continue;
      bool wanted = true;
      for (std::size_t i = 0; i < chat.messages.size(); ++i) {
        const auto place = trace.content(i);
        if (place && place->begin >= span.begin && place->end <= span.end)
          wanted = wanted && chat.is_trained(i);
      }
      if (wanted) ranges.push_back({span.begin, span.end});
    }
    return ranges;
  }

  /// What the template says of a conversation shows how it ends messages and begins answers. Throws
  /// FormatError when it does not write all that is said, in order.
  void learn_marks() {
    const std::vector<ChatMessage> said = {{"user", "How many?"},
                                           {"assistant", "Four of them."},
                                           {"user", "And now?"},
                                           {"assistant", "Three are left."}};
    const jinja::Text text = rendered(to_chat(said), false);
    const ChatTrace trace(text, said.size(), special_);
    splits_alike_ =
        tokenizer_->encode(text.bytes) == ids_between(text.bytes, trace.special_tokens());
    std::size_t done = 0;
    for (std::size_t i = 0; i < said.size(); ++i) {
      const auto place = trace.content(i);
      require<FormatError>(
          place && place->begin >= done &&
              text.bytes.compare(place->begin, place->end - place->begin, said[i].content) == 0,
          "the template does not write what message ", i + 1, " says as it is, and in order");
      RoleMarks& marks = i % 2 == 0 ? question_ : answer_;
      marks.before = text.bytes.substr(done, place->begin - done);
      done = place->end;
      const auto end = trace.first_special({done, trace.gap(done, i).end}, nullptr);
      if (end && std::find(marks.ends.begin(), marks.ends.end(), end->id) == marks.ends.end())
        marks.ends.push_back(end->id);
    }
    if (const auto end = tokenizer_->end_of_sequence();
        end && std::find(answer_.ends.begin(), answer_.ends.end(), *end) == answer_.ends.end())
      answer_.ends.push_back(*end);
    const std::vector<ChatMessage> asked(said.begin(), said.end() - 1);
    const std::string question = rendered(to_chat(asked), false).bytes;
    const std::string prompt = rendered(to_chat(asked), true).bytes;
    if (!prompt.starts_with(question)) return;
    header_ = prompt.substr(question.size());
    const auto mark = special_.find(header_, 0, header_.size());
    header_mark_ = mark ? mark->end : header_.size();
  }

  /// Ids of the text. Where messages hold the text of special tokens, what lies between the
  /// template's own ones is encoded as plain text.
  std::vector<Token> ids_of(std::string_view text, const std::vector<SpecialMatch>& own) const {
    std::size_t at = 0;
    auto next = own.begin();
    while (const auto match = special_.find(text, at, text.size())) {
      if (next == own.end() || next->begin != match->begin || next->id != match->id) {
        require<FormatError>(splits_alike_, template_.name(), ": a message says ",
                             text.substr(match->begin, match->end - match->begin),
                             ", which this tokenizer can't take as plain text here");
        return ids_between(text, own);
      }
      ++next;
      at = match->end;
    }
    return tokenizer_->encode(text);
  }

  std::vector<Token> ids_between(std::string_view text,
                                 const std::vector<SpecialMatch>& own) const {
    std::vector<Token> ids;
    std::size_t done = 0;
    const auto plain = [&](std::size_t end) {
      const auto part = tokenizer_->encode_plain(text.substr(done, end - done));
      ids.insert(ids.end(), part.begin(), part.end());
    };
    for (const SpecialMatch& match : own) {
      plain(match.begin);
      ids.push_back(match.id);
      done = match.end;
    }
    plain(text.size());
    return ids;
  }

  /// A token counts when it holds bytes that do. White space that a special token takes, and bytes
  /// that the vocabulary lacks, are in no token.
  EncodedText marked(std::string_view text, const std::vector<Token>& ids,
                     const std::vector<TextRange>& counted) const {
    EncodedText result;
    std::size_t at = 0;
    auto range = counted.begin();
    for (const Token id : ids) {
      const std::string& piece = tokenizer_->piece(id);
      while (at < text.size() && text.compare(at, piece.size(), piece) != 0 &&
             (jinja::is_space(static_cast<unsigned char>(text[at])) || (text[at] & 0x80) != 0 ||
              tokenizer_->encode_plain(text.substr(at, 1)).empty()))
        ++at;
      require<FormatError>(text.substr(at, piece.size()) == piece, template_.name(),
                           ": the token '", piece,
                           "' can't be found in the text that it stands for");
      const std::size_t end = at + piece.size();
      while (range != counted.end() && range->end <= at) ++range;
      result.push(id, range != counted.end() && range->begin < end);
      at = end;
    }
    return result;
  }

  const Tokenizer* tokenizer_;
  jinja::Template template_;
  jinja::RenderOptions options_;
  jinja::Variables variables_;
  SpecialTokens special_;
  RoleMarks question_, answer_;
  std::string header_;  ///< what a generation prompt adds
  std::size_t header_mark_ = 0;
  bool splits_alike_ = true;  ///< special tokens are no more than their text
};

}  // namespace qlora::inline QLORA_ABI
