/// A model's answer to a chat, kept within its context.
///
///     std::vector<qlora::ChatMessage> messages{{"user", "What is a hack?"}};
///     auto answer = qlora::answer(model, tokenizer, chat, messages, {.new_tokens = 64});
///     messages.push_back({"assistant", answer.text});
///
/// The template writes the chat up to the place where the assistant begins to speak. From there
/// tokens are generated, until one of them ends the message.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/model/generate.hpp"
#include "qlora/text/chat_template.hpp"
#include "qlora/text/tokenizer.hpp"
#include "qlora/text/utf8.hpp"

namespace qlora::inline QLORA_ABI {

/// What a model answered, in whole UTF-8 characters.
struct Answer {
  std::string text;
  Index dropped = 0;          ///< how many of the oldest messages were erased to make room
  bool context_full = false;  ///< the answer was cut because nothing more fits in the context
};

namespace model_detail {

/// Erases the oldest question with its answers, and adds the number of messages to `dropped`. It
/// keeps system messages at the start and the last message. Returns false if nothing else is left.
inline bool drop_oldest(std::vector<ChatMessage>& messages, Index& dropped) {
  const auto begin = std::find_if(messages.begin(), messages.end(),
                                  [](const auto& each) { return each.role != "system"; });
  auto end = begin;
  if (end == messages.end() || end + 1 == messages.end()) return false;
  do {
    ++end;
  } while (end + 1 != messages.end() && end->role != "user");
  dropped += end - begin;
  messages.erase(begin, end);
  return true;
}

}  // namespace model_detail

/// Answers the last of the messages. The answer needs room for options.new_tokens, or for a quarter
/// of the context if that is less. Where the messages leave less room, the oldest ones are erased
/// from `messages`. `show` is called with each piece of text as it comes, in whole characters; if
/// it returns false, the answer ends there. Several threads may answer with one model at once, each
/// with messages of its own. Throws ShapeError if the last message leaves no room in the context,
/// FormatError for what the template refuses, and NumericError for logits that are not finite.
template <Scalar T>
Answer answer(const Llama<T>& model, const Tokenizer& tokenizer, const ChatTemplate& chat,
              std::vector<ChatMessage>& messages, const SampleOptions& options = {},
              const std::function<bool(std::string_view text)>& show = {}) {
  const Index context = model.config.context;
  Answer result;
  std::vector<Token> prompt = chat.encode(messages, true).ids;
  const Index room = std::min(options.new_tokens, context / 4);
  const auto fits = [&] { return static_cast<Index>(prompt.size()) + room <= context; };
  while (!fits() && model_detail::drop_oldest(messages, result.dropped))
    prompt = chat.encode(messages, true).ids;
  const auto length = static_cast<Index>(prompt.size());
  require<ShapeError>(length < context, "context: the message comes to ", length,
                      " tokens and the model's context is ", context,
                      "; a shorter message leaves room for an answer");
  std::string bytes;
  std::size_t shown = 0;
  bool ended = false;
  const auto ids = generate(model, prompt, options, [&](Token id) {
    ended = id == chat.end_of_message() || tokenizer.is_end(id);
    if (ended) return false;
    bytes += tokenizer.piece(id);
    const std::string_view rest = std::string_view(bytes).substr(shown);
    const std::size_t whole = utf8_complete_prefix(rest);
    if (whole == 0) return true;
    shown += whole;
    ended = show && !show(repair_utf8(rest.substr(0, whole)));
    return !ended;
  });
  if (show && shown < bytes.size()) (void)show(repair_utf8(std::string_view(bytes).substr(shown)));
  result.context_full = !ended && static_cast<Index>(ids.size()) < options.new_tokens;
  result.text = repair_utf8(bytes);
  return result;
}

}  // namespace qlora::inline QLORA_ABI
