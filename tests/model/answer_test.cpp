#include "qlora/model/answer.hpp"

#include "support/catch.hpp"
#include "support/loaded_tiny.hpp"

using qlora::ChatMessage;
using qlora::Index;

namespace {

struct Chatting : test::LoadedTiny {
  qlora::TokenizerData data = source->tokenizer();
  qlora::ChatTemplate chat{data, tokenizer};

  qlora::Answer answer(std::vector<ChatMessage>& messages, const qlora::SampleOptions& options,
                       const std::function<bool(std::string_view)>& show = {}) const {
    return qlora::answer(model, tokenizer, chat, messages, options, show);
  }
  Index length(const std::vector<ChatMessage>& messages) const {
    return static_cast<Index>(chat.encode(messages, true).ids.size());
  }
};

}  // namespace

TEST_CASE("an answer is what is generated behind the prompt, up to the message's end") {
  const Chatting tiny;
  std::vector<ChatMessage> messages{{"user", "Hi"}};
  const qlora::SampleOptions options{.new_tokens = 12, .temperature = 1.5f, .seed = 3};
  std::string shown;
  const auto answer = tiny.answer(messages, options, [&](std::string_view text) {
    shown += text;
    return true;
  });
  std::string expected;
  for (const qlora::Token id :
       qlora::generate(tiny.model, tiny.chat.encode(messages, true).ids, options)) {
    if (id == tiny.chat.end_of_message() || tiny.tokenizer.is_end(id)) break;
    expected += tiny.tokenizer.piece(id);
  }
  REQUIRE(!expected.empty());
  REQUIRE(answer.text == qlora::repair_utf8(expected));
  REQUIRE(shown == answer.text);
  REQUIRE(answer.dropped == 0);
  REQUIRE(!answer.context_full);
  REQUIRE(messages.size() == 1);
}

TEST_CASE("the oldest turns go when room is short; system and last message stay") {
  const Chatting tiny;
  const std::string filler(200, 'x');
  std::vector<ChatMessage> messages{{"system", "Be brief"}, {"user", filler},
                                    {"assistant", filler},  {"user", "the"},
                                    {"assistant", "thin"},  {"user", "in"}};
  REQUIRE(tiny.length(messages) + 100 > tiny.model.config.context);
  const auto answer = tiny.answer(messages, {.new_tokens = 100});
  REQUIRE(answer.dropped == 2);
  REQUIRE(messages.size() == 4);
  REQUIRE(messages[0].content == "Be brief");
  REQUIRE(messages[1].content == "the");
  REQUIRE(messages.back().content == "in");
}

TEST_CASE("an answer that fills the context says so, and a message beyond it is an error") {
  const Chatting tiny;
  const Index context = tiny.model.config.context;
  const Index empty = tiny.length({{"user", ""}});
  // Characters x are one token each in the tiny model.
  std::vector<ChatMessage> long_one{
      {"user", std::string(static_cast<std::size_t>(context - empty - 3), 'x')}};
  REQUIRE(tiny.length(long_one) == context - 3);
  const auto answer = tiny.answer(long_one, {.new_tokens = 100});
  const auto ids = qlora::generate(tiny.model, tiny.chat.encode(long_one, true).ids, {});
  const bool ended = ids.back() == tiny.chat.end_of_message() || tiny.tokenizer.is_end(ids.back());
  REQUIRE(answer.context_full == !ended);
  std::vector<ChatMessage> too_long{
      {"user", "Hi"}, {"assistant", "the"}, {"user", std::string(600, 'x')}};
  REQUIRE_THROWS_AS(tiny.answer(too_long, {.new_tokens = 4}), qlora::ShapeError);
}

TEST_CASE("who is shown the text may end it, which is no lack of room") {
  const Chatting tiny;
  std::vector<ChatMessage> messages{{"user", "Hi"}};
  const qlora::SampleOptions options{.new_tokens = 12, .temperature = 1.5f, .seed = 3};
  const auto whole = tiny.answer(messages, options);
  int calls = 0;
  const auto cut = tiny.answer(messages, options, [&](std::string_view) { return ++calls < 2; });
  REQUIRE(calls == 2);
  REQUIRE(whole.text.starts_with(cut.text));
  REQUIRE(cut.text.size() < whole.text.size());
  REQUIRE(!cut.context_full);
}
