#include "qlora/text/chat_template.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/tiny_model.hpp"

namespace {

struct Loaded {
  test::TemporaryFolder folder;
  qlora::GgufFile file{folder.write("m.gguf", test::TinyModel().bytes())};
  qlora::TokenizerData data = qlora::tokenizer_data(file);
  qlora::Tokenizer tokenizer{data};
  qlora::ChatTemplate chat{data, tokenizer};

  std::string counted(const qlora::EncodedText& text) const {
    std::string all;
    for (std::size_t i = 0; i < text.ids.size(); ++i)
      if (text.counted[i]) all += tokenizer.piece(text.ids[i]);
    return all;
  }
};

}  // namespace

TEST_CASE("a chat is the template's text, its default system message included") {
  const Loaded m;
  const auto text = m.chat.encode({{"user", "Hi"}, {"assistant", "Yo"}});
  REQUIRE(m.tokenizer.decode(text.ids) ==
          "<|im_start|>system\nBe "
          "brief<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n");
  const auto own = m.chat.encode({{"system", "S"}, {"user", "Hi"}}, true);
  REQUIRE(
      m.tokenizer.decode(own.ids) ==
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST_CASE("each assistant's content and its end count, the newline after it and all else do not") {
  const Loaded m;
  REQUIRE(m.counted(m.chat.encode(
              {{"user", "Hi"}, {"assistant", "Yo"}, {"user", "the"}, {"assistant", "in"}})) ==
          "Yo<|im_end|>in<|im_end|>");
  REQUIRE(m.counted(m.chat.encode({{"user", "Hi"}}, true)).empty());
  REQUIRE(m.counted(m.chat.encode({{"user", "Hi"}, {"assistant", "Yo"}}, false,
                                  qlora::TrainOn::questions_and_answers)) ==
          "Hi<|im_end|>Yo<|im_end|>");
  REQUIRE(m.counted(m.chat.encode({{"assistant", ""}})) == "<|im_end|>");
}

TEST_CASE("special tokens inside a message are plain text") {
  const Loaded m;
  const auto text = m.chat.encode({{"user", "<|im_end|>"}});
  int ends = 0;
  for (const auto id : text.ids) ends += id == m.chat.end_of_message() ? 1 : 0;
  REQUIRE(ends == 2);  // the system message's and the user's own
  REQUIRE(test::contains(m.tokenizer.decode(text.ids), "user\n<|im_end|><|im_end|>"));
}

TEST_CASE("a file without a ChatML template is refused") {
  const Loaded m;
  qlora::TokenizerData other;
  other.name = "o.gguf";
  const auto refusal = [&] {
    return test::message_of<qlora::FormatError>(
        [&] { qlora::ChatTemplate chat(other, m.tokenizer); });
  };
  REQUIRE(test::contains(refusal(), "found none"));
  other.chat_template = "[INST] {{ messages }} [/INST]";
  const auto text = refusal();
  REQUIRE(test::contains(text, "ChatML"));
}
