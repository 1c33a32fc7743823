#include "qlora/text/chat_template.hpp"

#include "qlora/text/chat_formats.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/tiny_model.hpp"

namespace {

using Json = nlohmann::ordered_json;

// A tokenizer of bytes with some merges, and special tokens of several families.
struct ModelWithTemplate {
  test::TemporaryFolder folder;
  qlora::GgufFile file;
  qlora::TokenizerData data;
  qlora::Tokenizer tokenizer;

  explicit ModelWithTemplate(const std::vector<std::string>& special = {})
      : file(folder.write("m.gguf", with(special).bytes())),
        data(qlora::tokenizer_data(file)),
        tokenizer(data) {}

  static test::TinyModel with(const std::vector<std::string>& special) {
    test::TinyModel model;
    for (const auto& token : special) {
      model.tokens.push_back(token);
      model.types.push_back(3);
    }
    return model;
  }

  qlora::ChatTemplate chat() const { return qlora::ChatTemplate(data, tokenizer); }
  qlora::ChatTemplate chat(const std::string& source) const {
    return qlora::ChatTemplate(data, tokenizer, source, "t.jinja");
  }

  std::string counted(const qlora::EncodedText& text) const {
    std::string all;
    for (std::size_t i = 0; i < text.ids.size(); ++i)
      if (text.counted[i]) all += tokenizer.piece(text.ids[i]);
    return all;
  }
  std::string refusal(const std::string& source, const Json& messages) const {
    return test::message_of<qlora::FormatError>(
        [&] { (void)chat(source).encode_chat({.messages = messages}); });
  }
};

const std::string chatml(qlora::named_chat_template("chatml"));

// How Qwen3's template treats thoughts: those before the last question go, and the last answer
// always has some.
const std::string thinking =
    "{%- set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% set thought = m.reasoning_content or '' %}"
    "{% set content = m.content %}{% if '</think>' in content %}"
    "{% set thought = content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
    "{% if loop.index0 > ns.last and (loop.last or thought) %}"
    "{{ '<think>\\n' + thought + '\\n</think>\\n\\n' }}{% endif %}{{ content }}"
    "{% for call in m.tool_calls or [] %}{{ '\\n<tool_call>\\n' + call.function | tojson }}"
    "{{ '\\n</tool_call>' }}{% endfor %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

}  // namespace

TEST_CASE("a chat is the template's text, its default system message included") {
  const ModelWithTemplate m;
  const auto chat = m.chat();
  const auto text = chat.encode({{"user", "Hi"}, {"assistant", "Yo"}});
  REQUIRE(m.tokenizer.decode(text.ids) ==
          "<|im_start|>system\nBe "
          "brief<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n");
  const auto own = chat.encode({{"system", "S"}, {"user", "Hi"}}, true);
  REQUIRE(
      m.tokenizer.decode(own.ids) ==
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST_CASE("each assistant's content and its end count, the newline after it and all else do not") {
  const ModelWithTemplate m;
  const auto chat = m.chat();
  REQUIRE(m.counted(chat.encode(
              {{"user", "Hi"}, {"assistant", "Yo"}, {"user", "the"}, {"assistant", "in"}})) ==
          "Yo<|im_end|>in<|im_end|>");
  REQUIRE(m.counted(chat.encode({{"user", "Hi"}}, true)).empty());
  REQUIRE(m.counted(chat.encode({{"user", "Hi"}, {"assistant", "Yo"}}, false,
                                qlora::TrainOn::questions_and_answers)) ==
          "Hi<|im_end|>Yo<|im_end|>");
  REQUIRE(m.counted(chat.encode({{"assistant", ""}})) == "<|im_end|>");
}

TEST_CASE("special tokens inside a message are plain text") {
  const ModelWithTemplate m;
  const auto chat = m.chat();
  const auto text = chat.encode({{"user", "<|im_end|>"}});
  int ends = 0;
  for (const auto id : text.ids) ends += id == chat.end_of_message() ? 1 : 0;
  REQUIRE(ends == 2);  // the system message's and the user's own
  REQUIRE(test::contains(m.tokenizer.decode(text.ids), "user\n<|im_end|><|im_end|>"));
}

TEST_CASE("special tokens in tools and other variables are plain text") {
  const ModelWithTemplate m;
  const auto chat = m.chat("{{ tools | tojson if tools else '' }}" + chatml);
  const auto text = chat.encode_chat(
      {.messages = {{{"role", "user"}, {"content", "a"}}}, .tools = {{{"name", "<|im_end|>"}}}});
  REQUIRE(std::count(text.ids.begin(), text.ids.end(), chat.end_of_message()) == 1);
}

TEST_CASE("content that the template trims, splits or joins is found") {
  const ModelWithTemplate m;
  const std::vector<qlora::ChatMessage> said = {{"user", "Hi"}, {"assistant", " Yo yo\n"}};
  const auto counted = [&](const std::string& content) {
    return m.counted(m.chat("{% for m in messages %}<|im_start|>{{ m.role }}: {{ " + content +
                            " }}<|im_end|>{% endfor %}")
                         .encode(said));
  };
  REQUIRE(counted("m.content") == " Yo yo\n<|im_end|>");
  REQUIRE(counted("m.content | trim") == "Yo yo<|im_end|>");
  REQUIRE(counted("m['content'].strip()") == "Yo yo<|im_end|>");
  REQUIRE(counted("'x' ~ m.content ~ 'y'") == " Yo yo\ny<|im_end|>");
  REQUIRE(counted("m.content[:]") == " Yo yo\n<|im_end|>");
  REQUIRE(counted("m.content.split('</think>')[-1]") == " Yo yo\n<|im_end|>");
  REQUIRE(counted("m.content.split('zzz') | join") == " Yo yo\n<|im_end|>");
  REQUIRE(counted("m.content | string | replace('zzz', '')") == " Yo yo\n<|im_end|>");
}

TEST_CASE("white space between the content and the end of the turn counts") {
  const ModelWithTemplate m({"</s>"});
  const auto chat = m.chat(
      "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
      "{% else %} {{ m.content }} </s>{% endif %}{% endfor %}");
  REQUIRE(m.counted(chat.encode({{"user", "Hi"}, {"assistant", "Yo"}})) == "Yo </s>");
  REQUIRE(m.tokenizer.piece(chat.end_of_message()) == "</s>");
}

TEST_CASE("a turn that no special token ends counts up to the white space after it") {
  const ModelWithTemplate m;
  const auto chat =
      m.chat("{% for m in messages %}{{ m.role }}: {{ m.content }}{{ '\\n\\n' }}{% endfor %}");
  REQUIRE(m.counted(chat.encode({{"user", "Hi"}, {"assistant", "Yo"}, {"user", "Oh"}})) ==
          "Yo\n\n");
}

TEST_CASE("what a generation block encloses counts, and nothing else of answers") {
  const ModelWithTemplate m;
  const auto chat = m.chat(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
      "{% generation %}{{ m.content }}!<|im_end|>{% endgeneration %}{% else %}{{ m.content }}"
      "<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}");
  const std::vector<qlora::ChatMessage> said = {{"user", "Hi"}, {"assistant", "Yo"}};
  REQUIRE(m.counted(chat.encode(said)) == "Yo!<|im_end|>");
  REQUIRE(m.counted(chat.encode(said, false, qlora::TrainOn::questions_and_answers)) ==
          "Hi<|im_end|>Yo!<|im_end|>");
}

TEST_CASE("an empty thought that the template writes into the last answer does not count") {
  const ModelWithTemplate m;
  const auto chat = m.chat(thinking);
  const auto text =
      chat.encode({{"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}});
  REQUIRE(test::contains(m.tokenizer.decode(text.ids), "<think>\n\n</think>\n\nd"));
  REQUIRE(m.counted(text) == "b<|im_end|>d<|im_end|>");
}

TEST_CASE("a thought counts with the marks around it") {
  const ModelWithTemplate m;
  const auto chat = m.chat(thinking);
  const auto counted = [&](const Json& answer) {
    return m.counted(
        chat.encode_chat({.messages = {{{"role", "user"}, {"content", "a"}}, answer}}));
  };
  REQUIRE(counted({{"role", "assistant"}, {"content", "d"}, {"reasoning_content", "hm"}}) ==
          "<think>\nhm\n</think>\n\nd<|im_end|>");
  REQUIRE(counted({{"role", "assistant"}, {"content", "d"}, {"thinking", "hm"}}) ==
          "<think>\nhm\n</think>\n\nd<|im_end|>");
  REQUIRE(counted({{"role", "assistant"}, {"content", "<think>\nhm\n</think>\n\nd"}}) ==
          "<think>\nhm\n</think>\n\nd<|im_end|>");
}

TEST_CASE("calls of tools count from the beginning of the answer to its end") {
  const ModelWithTemplate m({"<tool_call>", "</tool_call>"});
  const auto chat = m.chat(thinking);
  const Json call = {{"type", "function"},
                     {"function", {{"name", "look_up"}, {"arguments", {{"word", "hack"}}}}}};
  const Json answer = {{"role", "assistant"}, {"content", ""}, {"tool_calls", {call, call}}};
  const Json question = {{"role", "user"}, {"content", "a"}};
  const std::string one =
      "\n<tool_call>\n{\"name\": \"look_up\", \"arguments\": {\"word\": \"hack\"}}\n</tool_call>";
  REQUIRE(m.counted(chat.encode_chat({.messages = {question, answer}})) ==
          "<think>\n\n</think>\n\n" + one + one + "<|im_end|>");
}

TEST_CASE("what a template leaves out of a chat is refused by name") {
  const ModelWithTemplate m;
  const auto chat = m.chat(
      "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}"
      "<|im_end|>\n{% endfor %}");
  const Json question = {{"role", "user"}, {"content", "a"}};
  const auto refusal = [&](const qlora::Chat& said) {
    return test::message_of<qlora::FormatError>([&] { (void)chat.encode_chat(said); });
  };
  REQUIRE(test::contains(
      refusal({.messages = {{{"role", "system"}, {"content", "Be brief."}}, question}}),
      "t.jinja: message 1: the template does not write what the system says"));
  REQUIRE(test::contains(refusal({.messages = Json::array({question}), .tools = {{{"name", "f"}}}}),
                         "does not write the tools"));
  for (const char* calls : {"tool_calls", "function_call"})
    REQUIRE(test::contains(
        refusal(
            {.messages = {question,
                          {{"role", "assistant"}, {"content", ""}, {calls, {{{"name", "f"}}}}}}}),
        std::string("message 2: the template does not write its ") + calls));
  REQUIRE(chat.encode_chat({.messages = {{{"role", "system"}, {"content", " "}}, question},
                            .tools = Json::array()})
              .ids.size() > 0);
}

TEST_CASE("an empty answer that the template leaves out ends at once") {
  const ModelWithTemplate m;
  const auto chat = m.chat(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content %}{{ m.content }}"
      "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
      "{% endif %}");
  REQUIRE(m.counted(chat.encode({{"user", "a"}, {"assistant", ""}})) == "<|im_end|>");
  REQUIRE(m.counted(chat.encode({{"assistant", ""}, {"user", "b"}, {"assistant", "c"}})) ==
          "<|im_end|>c<|im_end|>");
}

TEST_CASE("what can't be traced is refused by name") {
  const ModelWithTemplate m;
  const Json said = {{{"role", "user"}, {"content", "a"}},
                     {{"role", "assistant"}, {"content", "b"}}};
  REQUIRE(test::contains(m.refusal("[INST] {{ messages | length }} [/INST]", said),
                         "does not write what message 1 says"));
  REQUIRE(test::contains(
      m.refusal("{% for m in messages %}{{ m.content | length }}{% endfor %}", said), "message 1"));
  REQUIRE(test::contains(
      m.refusal("{% for m in messages | reverse %}{{ m.content }}{% endfor %}", said), "in order"));
  REQUIRE(test::contains(
      m.refusal("{% for m in messages %}{{ m.content | upper }}{% endfor %}", said), "message 1"));
  // Right for the probe, but not for all that comes later.
  const std::string moody =
      "{% for m in messages %}{{ m.content if m.content != 'b' else 'nothing' }}{% endfor %}";
  REQUIRE(test::contains(m.refusal(moody, said), "message 2"));
}

TEST_CASE("a template that can't be parsed or evaluated is refused with its line") {
  const ModelWithTemplate m;
  const Json said = {{{"role", "tool"}, {"content", "a"}}};
  REQUIRE(test::contains(m.refusal("\n{% for %}", said), "t.jinja, line 2"));
  REQUIRE(test::contains(
      m.refusal(chatml + "\n{{ messages | shuffle if messages[0].role == 'tool' }}", said),
      "t.jinja, line 2: the filter 'shuffle' is not known"));
  REQUIRE(test::contains(m.refusal(chatml + "{{ raise_exception('no tools') "
                                            "if messages[0].role == 'tool' }}",
                                   said),
                         "no tools"));
}

TEST_CASE("a file without a chat template is refused") {
  const ModelWithTemplate m;
  qlora::TokenizerData other;
  other.name = "o.gguf";
  REQUIRE(test::contains(
      test::message_of<qlora::FormatError>([&] { qlora::ChatTemplate chat(other, m.tokenizer); }),
      "o.gguf: expected a chat template, found none"));
}

TEST_CASE("tokens by name are there, and undefined where the file has none") {
  ModelWithTemplate m;
  const std::string source = "{{ bos_token }}" + chatml + "{{ eos_token }}";
  m.data.begin = 0;
  const auto text = m.chat(source).encode({{"user", "a"}});
  REQUIRE(text.ids.front() == 0);
  REQUIRE(text.ids[1] != 0);
  REQUIRE(text.ids.back() == *m.data.end);
  m.data.begin = std::nullopt;
  REQUIRE(m.tokenizer.piece(m.chat(source).encode({{"user", "a"}}).ids.front()) == "<|im_start|>");
}

TEST_CASE("messages that are not trained on do not count, with and without generation blocks") {
  const ModelWithTemplate m;
  const std::string marked =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
      "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}"
      "<|im_end|>{% endif %}{{ '\n' }}{% endfor %}";
  const Json said = {{{"role", "user"}, {"content", "a"}},
                     {{"role", "assistant"}, {"content", "b"}},
                     {{"role", "user"}, {"content", "c"}},
                     {{"role", "assistant"}, {"content", "d"}}};
  for (const std::string& source : {marked, chatml})
    REQUIRE(m.counted(m.chat(source).encode_chat(
                {.messages = said, .trains = {true, false, true, true}})) == "d<|im_end|>");
}

TEST_CASE("further variables reach the template") {
  const ModelWithTemplate m;
  const auto chat = m.chat(chatml + "{{ enable_thinking if enable_thinking is defined }}");
  const Json said = {{{"role", "user"}, {"content", "a"}}};
  REQUIRE(chat.render({.messages = said, .variables = {{"enable_thinking", false}}})
              .ends_with("\nFalse"));
  REQUIRE(chat.render({.messages = said}).ends_with("<|im_end|>\n"));
}

TEST_CASE("the format alpaca writes instructions and responses between the file's own tokens") {
  ModelWithTemplate m({"<s>", "</s>"});
  m.data.begin = static_cast<qlora::Token>(m.data.tokens.size()) - 2;
  m.data.end = *m.data.begin + 1;
  const qlora::Tokenizer tokenizer(m.data);
  const qlora::ChatTemplate chat(m.data, tokenizer, qlora::named_chat_template("alpaca"), "alpaca");
  const auto text = chat.encode({{"user", "Name a fruit."}, {"assistant", "Fig."}});
  REQUIRE(tokenizer.decode(text.ids) ==
          "<s>Below is an instruction that describes a task. Write a response that appropriately "
          "completes the request.\n\n### Instruction:\nName a fruit.\n\n### Response:\nFig.</s>");
  REQUIRE(m.counted(text) == "Fig.</s>");
  REQUIRE(qlora::named_chat_template("none").empty());
}

TEST_CASE("a character beyond ASCII and broken UTF-8 keep their place in the mask") {
  const ModelWithTemplate m;
  const auto chat = m.chat();
  REQUIRE(m.counted(chat.encode({{"user", "\xc3\xa9"}, {"assistant", "\xf0\x9f\x98\x80\xff!"}})) ==
          "\xf0\x9f\x98\x80\xef\xbf\xbd!<|im_end|>");
}
