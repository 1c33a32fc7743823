// A model's answer to a chat, within its context; what chat and evaluate share.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/error.hpp"
#include "qlora/model/generate.hpp"
#include "qlora/text/chat_template.hpp"
#include "qlora/text/tokenizer.hpp"
#include "qlora/text/utf8.hpp"

namespace program {

struct Answer {
  std::string text;
  qlora::Index dropped = 0;   // oldest messages that were left out to make room
  bool context_full = false;  // it was cut because nothing more fits in the context
};

class Answerer {
 public:
  // Both must outlive it.
  Answerer(const qlora::Llama<>& model, const qlora::Tokenizer& tokenizer,
           const qlora::ChatTemplate& chat)
      : model_(model), tokenizer_(tokenizer), chat_(chat) {}

  // Answers the last of the messages. Where they leave little room the oldest ones go first; what
  // goes is erased from `messages`. `show` gets the text as it comes, whole characters only. Throws
  // ShapeError when the last message does not fit by itself.
  Answer operator()(std::vector<qlora::ChatMessage>& messages, const qlora::SampleOptions& options,
                    const std::function<void(const std::string&)>& show = {}) const {
    const qlora::Index context = model_.config.context;
    Answer answer;
    std::vector<qlora::Token> prompt = chat_.encode(messages, true).ids;
    const qlora::Index room = std::min(options.new_tokens, context / 4);
    const auto fits = [&] { return static_cast<qlora::Index>(prompt.size()) + room <= context; };
    while (!fits() && drop_oldest(messages, answer.dropped))
      prompt = chat_.encode(messages, true).ids;
    const auto length = static_cast<qlora::Index>(prompt.size());
    qlora::require<qlora::ShapeError>(length < context, "context: the message comes to ", length,
                                      " tokens and the model's context is ", context,
                                      "; a shorter message leaves room for an answer");
    std::string bytes;
    std::size_t shown = 0;
    bool ended = false;
    const auto ids = qlora::generate(model_, prompt, options, [&](qlora::Token id) {
      ended = id == chat_.end_of_message() || tokenizer_.is_end(id);
      if (ended) return false;
      bytes += tokenizer_.piece(id);
      const std::string_view rest = std::string_view(bytes).substr(shown);
      const std::size_t whole = qlora::utf8_complete_prefix(rest);
      if (show && whole > 0) show(qlora::repair_utf8(rest.substr(0, whole)));
      shown += whole;
      return true;
    });
    if (show && shown < bytes.size())
      show(qlora::repair_utf8(std::string_view(bytes).substr(shown)));
    answer.context_full = !ended && static_cast<qlora::Index>(ids.size()) < options.new_tokens;
    answer.text = qlora::repair_utf8(bytes);
    return answer;
  }

 private:
  // A question and what was answered to it; the system message and the last message stay.
  static bool drop_oldest(std::vector<qlora::ChatMessage>& messages, qlora::Index& dropped) {
    const auto system = std::find_if(messages.begin(), messages.end(),
                                     [](const auto& each) { return each.role != "system"; });
    auto end = system;
    if (end == messages.end() || end + 1 == messages.end()) return false;
    do {
      ++end;
    } while (end + 1 != messages.end() && end->role != "user");
    dropped += end - system;
    messages.erase(system, end);
    return true;
  }

  const qlora::Llama<>& model_;
  const qlora::Tokenizer& tokenizer_;
  const qlora::ChatTemplate& chat_;
};

}  // namespace program
