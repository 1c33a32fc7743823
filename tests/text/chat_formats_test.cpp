#include "qlora/text/chat_formats.hpp"

#include <string>

#include "qlora/text/jinja.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

namespace {

using Json = nlohmann::ordered_json;

Json said(const char* role, const char* content) { return {{"role", role}, {"content", content}}; }

std::string rendered(std::string_view name, const Json& messages, bool answer = false) {
  const qlora::jinja::Template chat(qlora::named_chat_template(name), std::string(name));
  return chat.render(Json{{"messages", messages},
                          {"bos_token", "<s>"},
                          {"eos_token", "</s>"},
                          {"add_generation_prompt", answer}});
}

}  // namespace

TEST_CASE("the names of the formats are those that are found, and no other is") {
  REQUIRE(qlora::chat_template_names() == "chatml, alpaca");
  for (const char* name : {"chatml", "alpaca"}) REQUIRE(!qlora::named_chat_template(name).empty());
  for (const char* name : {"", "ChatML", "alpaca ", "chatml, alpaca"})
    REQUIRE(qlora::named_chat_template(name).empty());
}

TEST_CASE("the format chatml writes every role alike, and no message of its own") {
  REQUIRE(rendered("chatml", Json::array()).empty());
  REQUIRE(rendered("chatml", {said("system", "S"), said("tool", " t\n")}) ==
          "<|im_start|>system\nS<|im_end|>\n<|im_start|>tool\n t\n<|im_end|>\n");
  REQUIRE(rendered("chatml", {said("user", "Hi"), said("assistant", "")}, true) ==
          "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n"
          "<|im_start|>assistant\n");
}

TEST_CASE("in the format alpaca a system message takes the place of the sentences at the head") {
  const Json question = said("user", "Name a fruit."), one = Json::array({question});
  REQUIRE(rendered("alpaca", {said("system", "Be brief."), question}) ==
          "<s>Be brief.\n\n### Instruction:\nName a fruit.\n\n### Response:\n");
  // The prompt ends where an answer begins, whether or not one is asked for.
  REQUIRE(rendered("alpaca", one, true) == rendered("alpaca", one));
  REQUIRE(rendered("alpaca", {question, said("assistant", "Fig."), question})
              .ends_with("### Response:\nFig.</s>\n\n### Instruction:\nName a fruit.\n\n"
                         "### Response:\n"));
}

TEST_CASE("the format alpaca refuses a role that it has no place for by name") {
  const auto refusal = [](const Json& messages) {
    return test::message_of<qlora::FormatError>([&] { (void)rendered("alpaca", messages); });
  };
  const Json question = said("user", "a");
  REQUIRE(test::contains(refusal({question, said("tool", "b")}),
                         "alpaca, line 1: the template refuses: the role tool has no place"));
  REQUIRE(test::contains(refusal({question, said("system", "b")}), "the role system has no place"));
}
