/// A conversation as chat templates take it: messages with whatever fields they have, tools, and
/// further variables.
///
///     qlora::Chat chat{.messages = {{{"role", "user"}, {"content", "Hi"}}}};
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/text/jinja.hpp"

namespace qlora::inline QLORA_ABI {

/// One message that has no more than a role and a text.
struct ChatMessage {
  std::string role;  ///< system, user, assistant, or what the template knows beside
  std::string content;
};

/// A conversation with everything that a template may read.
struct Chat {
  using Json = nlohmann::ordered_json;

  Json messages = Json::array();    ///< objects with role, content, tool_calls, ...
  Json tools = nullptr;             ///< a list of functions as JSON schemas, or null
  Json variables = Json::object();  ///< more of what the template reads: enable_thinking, ...
  std::vector<bool> trains = {};    ///< by message, whether it may count; empty: all may

  /// Whether message number `message` may be trained on.
  bool is_trained(std::size_t message) const { return trains.empty() || trains.at(message); }
};

/// The same messages as a Chat; bytes that are no UTF-8 are replaced.
inline Chat to_chat(const std::vector<ChatMessage>& messages) {
  Chat chat;
  for (const ChatMessage& message : messages)
    chat.messages.push_back(
        {{"role", repair_utf8(message.role)}, {"content", repair_utf8(message.content)}});
  return chat;
}

/// Which part of a chat a piece of the rendered text came from.
enum class ChatPart : std::uint8_t {
  content,  ///< what a message says
  thought,  ///< an assistant's reasoning
  call,     ///< an assistant's calls of tools
  other     ///< names, ids and the like: plain text that does not count
};
/// The number of values that ChatPart has.
inline constexpr int chat_parts = 4;

/// The origin of texts in message number `message`.
inline int chat_origin(std::size_t message, ChatPart part) {
  return chat_parts * static_cast<int>(message) + static_cast<int>(part);
}
/// The origins of texts that belong to no message.
inline constexpr int from_variables = -1, from_tools = -2;

namespace text_detail {

/// A message without its null fields; what an assistant thought goes by all names that templates
/// read, as in transformers.
inline Chat::Json normal_message(const Chat::Json& message) {
  Chat::Json normal = Chat::Json::object();
  const Chat::Json* thought = nullptr;
  for (const char* name : {"reasoning", "thinking", "reasoning_content"})
    if (message.contains(name) && !message.at(name).is_null()) thought = &message.at(name);
  if (thought != nullptr) normal["thinking"] = *thought;
  for (const auto& [name, value] : message.items())
    if (!value.is_null()) normal[name] = value;
  if (thought != nullptr) normal["reasoning_content"] = *thought;
  return normal;
}

/// Whether a field holds no text but white space.
inline bool is_blank(const Chat::Json& value) {
  if (!value.is_string())
    return value.is_null() || ((value.is_array() || value.is_object()) && value.empty());
  const auto& text = value.get_ref<const std::string&>();
  return jinja::stripped(text, nullptr, true, false).first == text.size();
}

inline ChatPart part_of_field(std::string_view field) {
  if (field == "content") return ChatPart::content;
  if (field == "tool_calls" || field == "function_call") return ChatPart::call;
  for (const std::string_view thought : {"reasoning_content", "thinking", "reasoning", "tool_plan"})
    if (field == thought) return ChatPart::thought;
  return ChatPart::other;
}

}  // namespace text_detail

/// The messages as a value of the template: texts know which message they came from, but for roles,
/// which templates write into their own marks. Throws FormatError for what is no message.
inline jinja::Value messages_value(const Chat::Json& messages) {
  require<FormatError>(messages.is_array(), "messages: expected a list, found ",
                       messages.type_name());
  std::vector<jinja::Value> values;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    require<FormatError>(messages[i].is_object() && messages[i].contains("role") &&
                             messages[i].at("role").is_string(),
                         "message ", i + 1, ": expected an object with a role");
    const Chat::Json normal = text_detail::normal_message(messages[i]);
    jinja::DictBuilder dict;
    for (const auto& [name, value] : normal.items()) {
      try {
        if (name == "role") {
          dict.set(jinja::Text(name), jinja::from_json(value));
        } else {
          dict.set(jinja::Text(name),
                   jinja::from_json(value, chat_origin(i, text_detail::part_of_field(name))));
        }
      } catch (const jinja::Failure& failure) {
        throw FormatError(message("message ", i + 1, ": '", name, "': ", failure.what()));
      }
    }
    values.push_back(dict.value());
  }
  return jinja::Value::list(std::move(values));
}

}  // namespace qlora::inline QLORA_ABI
