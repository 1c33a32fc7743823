#include "qlora/text/chat.hpp"

#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/numbers.hpp"

using Json = qlora::Chat::Json;
using qlora::ChatPart;

namespace {

qlora::jinja::Text rendered_spans(const std::string& source, const Json& messages) {
  return qlora::jinja::Template(source).render({{"messages", qlora::messages_value(messages)}});
}
// The origins of the parts of `expression`'s text, of the second of two messages.
std::set<int> origins(const std::string& expression, const Json& message) {
  std::set<int> all;
  const Json first = {{"role", "user"}, {"content", "a"}};
  for (const auto& span :
       rendered_spans("{{ messages[1]." + expression + " }}", {first, message}).spans)
    all.insert(span.origin);
  return all;
}

}  // namespace

TEST_CASE("messages of role and text become a chat that all may be trained on, bytes repaired") {
  const qlora::Chat chat = qlora::to_chat({{"user", "a\xff"}, {"assistant", ""}});
  REQUIRE(chat.messages == Json{{{"role", "user"}, {"content", "a\xef\xbf\xbd"}},
                                {{"role", "assistant"}, {"content", ""}}});
  REQUIRE(chat.tools.is_null());
  REQUIRE((chat.is_trained(0) && chat.is_trained(1)));
  REQUIRE(qlora::to_chat({}).messages == Json::array());
  const qlora::Chat some{.trains = {true, false}};
  REQUIRE((some.is_trained(0) && !some.is_trained(1)));
}

TEST_CASE("each part of each message has an origin of its own, apart from tools and variables") {
  std::set<int> all{qlora::from_tools, qlora::from_variables};
  for (std::size_t message = 0; message < 5; ++message)
    for (int part = 0; part < qlora::chat_parts; ++part) {
      const int origin = qlora::chat_origin(message, static_cast<ChatPart>(part));
      REQUIRE(origin >= 0);
      all.insert(origin);
    }
  REQUIRE(all.size() == 2 + 5 * 4);
}

TEST_CASE("a template's text knows the message and the field it came from; roles are its own") {
  const Json message = {{"role", "assistant"},
                        {"content", Json::array({{{"type", "text"}, {"text", "b"}}})},
                        {"name", "c"},
                        {"tool_plan", "d"},
                        {"tool_calls", Json::array({{{"function", {{"name", "f"}}}}})}};
  const auto from = [](ChatPart part) { return std::set<int>{qlora::chat_origin(1, part)}; };
  REQUIRE(origins("role", message).empty());
  REQUIRE(origins("content[0].text", message) == from(ChatPart::content));
  REQUIRE(origins("name", message) == from(ChatPart::other));
  REQUIRE(origins("tool_plan", message) == from(ChatPart::thought));
  REQUIRE(origins("tool_calls[0].function.name", message) == from(ChatPart::call));
  REQUIRE(origins("tool_calls | tojson", message) == from(ChatPart::call));
}

TEST_CASE("a field that is null is as absent, and a thought goes by every name for it") {
  const auto seen = [](const Json& fields) {
    Json message = {{"role", "assistant"}};
    message.update(fields);
    return rendered_spans(
               "{% for name in ['content', 'reasoning', 'thinking', 'reasoning_content'] %}"
               "{{ messages[0][name] if name in messages[0] else '-' }} {% endfor %}",
               Json::array({message}))
        .bytes;
  };
  REQUIRE(seen({{"content", nullptr}, {"thinking", nullptr}}) == "- - - - ");
  REQUIRE(seen({{"thinking", "t"}}) == "- - t t ");
  REQUIRE(seen({{"reasoning", "r"}, {"content", "c"}}) == "c r r r ");
  REQUIRE(seen({{"reasoning_content", "r"}, {"thinking", nullptr}}) == "- - r r ");
}

TEST_CASE("what is no list of messages is refused by the number of the message") {
  const auto refusal = [](const Json& messages) {
    return test::message_of<qlora::FormatError>([&] { (void)qlora::messages_value(messages); });
  };
  const Json good = {{"role", "user"}};
  REQUIRE(refusal({{"role", "user"}}) == "messages: expected a list, found object");
  REQUIRE(refusal(nullptr) == "messages: expected a list, found null");
  for (const Json& bad : {Json("text"), Json::object(), Json{{"role", 3}}, Json(nullptr)})
    REQUIRE(refusal(Json::array({good, bad})) == "message 2: expected an object with a role");
  REQUIRE(refusal(Json::array({good})) == "nothing was thrown");
  REQUIRE_THAT(refusal(Json::array({good, {{"role", "user"}, {"seed", 18446744073709551615u}}})),
               test::contains("message 2: 'seed': "));
}

TEST_CASE("a field without content is told from one with some") {
  for (const Json& blank :
       {Json(nullptr), Json(""), Json(" \n\xe2\x80\x83"), Json::array(), Json::object()})
    REQUIRE(qlora::text_detail::is_blank(blank));
  for (const Json& said : {Json("a "), Json::array({nullptr}), Json(0), Json(false)})
    REQUIRE(!qlora::text_detail::is_blank(said));
}
