/// Rows of training data in the forms that are in use, read from JSON objects: chats (messages,
/// ShareGPT's conversations, Alpaca's instructions), prompts with their completions, and texts.
/// docs/data.md shows each. Every key is either used, or known not to change the text, or refused
/// by name.
///
///     for (const qlora::DataRow& row : qlora::read_rows("train.jsonl")) row.kind, row.messages;
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/data_file.hpp"

namespace qlora::inline QLORA_ABI {

/// What a row of training data is.
enum class RowKind : std::uint8_t { chat, completion, text };

/// One example of training data.
struct DataRow {
  RowKind kind = RowKind::text;
  std::string where;  ///< file:line, for messages
  /// Of a chat: a list of {"role", "content", ...} as templates get it. A content is a text, or
  /// null beside tool_calls.
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  nlohmann::ordered_json tools;  ///< of a chat: what the model may call; null without
  std::vector<bool> trains;      ///< by message: false where the data say not to train on it
  std::string prompt;            ///< of a completion: what is not trained on
  std::string text;              ///< of a text, or the completion
};

namespace text_detail {

/// Reads one object. Messages name the field and what was found in it.
class RowReader {
 public:
  using Json = nlohmann::ordered_json;

  explicit RowReader(const Json& json) : json_(json) {}

  DataRow read() {
    const bool messages = has("messages"), conversations = has("conversations"),
               instruction = has("instruction"), prompt = has("prompt") && has("completion");
    if (messages + conversations + instruction + prompt > 1) refuse_mixture();
    if (messages || conversations) {
      read_chat(messages ? "messages" : "conversations");
    } else if (instruction) {
      read_instruction();
    } else if (prompt) {
      read_completion();
    } else if (has("text")) {
      only({"text"});
      row_.kind = RowKind::text;
      row_.text = json_text(json_, "text");
    } else {
      refuse_unknown();
    }
    return std::move(row_);
  }

 private:
  template <class... Parts>
  static void expect(bool condition, const Parts&... parts) {
    require<FormatError>(condition, parts...);
  }
  static bool has(const Json& object, const char* key) {
    const auto place = object.find(key);
    return place != object.end() && !place->is_null();
  }
  bool has(const char* key) const { return has(json_, key); }
  std::string keys() const {
    std::string all;
    for (const auto& [key, value] : json_.items()) all += (all.empty() ? "" : ", ") + key;
    return all.empty() ? "nothing" : all;
  }
  [[noreturn]] void refuse_unknown() const {
    throw FormatError(
        message("expected 'messages', 'conversations', 'instruction' and 'output', 'prompt' and "
                "'completion', or 'text', found ",
                keys()));
  }
  [[noreturn]] void refuse_mixture() const {
    throw FormatError(
        message("expected one of messages, conversations, instruction, and prompt "
                "with completion, found ",
                keys()));
  }

  /// Absent and null are an empty text.
  std::string text_or_empty(const char* key) const {
    return has(key) ? json_text(json_, key) : std::string();
  }

  /// Refuses what is neither among the keys nor known to be no part of the text.
  void only(std::initializer_list<std::string_view> keys) const {
    constexpr std::array<std::string_view, 41> harmless{"id",          "_id",
                                                        "idx",         "index",
                                                        "uuid",        "guid",
                                                        "hash",        "source",
                                                        "sources",     "origin",
                                                        "dataset",     "dataset_name",
                                                        "data_source", "subset",
                                                        "split",       "category",
                                                        "categories",  "topic",
                                                        "subject",     "domain",
                                                        "task",        "task_type",
                                                        "tag",         "tags",
                                                        "lang",        "language",
                                                        "model",       "generator",
                                                        "date",        "timestamp",
                                                        "created_at",  "url",
                                                        "title",       "license",
                                                        "author",      "prompt_id",
                                                        "message_id",  "conversation_id",
                                                        "num_turns",   "metadata",
                                                        "meta"};
    for (const auto& [key, value] : json_.items()) {
      if (value.is_null()) continue;
      const auto is = [&, &name = key](std::string_view each) { return each == name; };
      expect(std::any_of(keys.begin(), keys.end(), is) ||
                 std::any_of(harmless.begin(), harmless.end(), is),
             key, ": this key is not supported here; expected nothing that changes the text");
    }
  }

  void add(std::string_view role, std::string content, bool trains = true) {
    row_.messages.push_back({{"role", role}, {"content", std::move(content)}});
    row_.trains.push_back(trains);
  }

  void read_chat(const char* key) {
    only({key, "tools", "system", "prompt"});
    row_.kind = RowKind::chat;
    if (has("system")) add("system", json_text(json_, "system"));
    read_messages(key, true);
    expect(!has("system") || row_.messages.size() < 2 || row_.messages[1]["role"] != "system",
           "system: expected one system message, found another in ", key);
    if (has("prompt")) {  // some data repeat the first question there
      const auto first = std::find_if(row_.messages.begin(), row_.messages.end(),
                                      [](const Json& each) { return each["role"] == "user"; });
      expect(first != row_.messages.end() && json_["prompt"] == (*first)["content"],
             "prompt: expected the first question of ", key, ", found something else");
    }
    read_tools();
  }

  void read_tools() {
    if (!has("tools")) return;
    expect(json_["tools"].is_array(), "tools: expected a list, found ", json_kind(json_["tools"]));
    for (std::size_t i = 0; i < json_["tools"].size(); ++i)
      expect(json_["tools"][i].is_object(), "tools[", i, "]: expected an object, found ",
             json_kind(json_["tools"][i]));
    if (!json_["tools"].empty()) row_.tools = json_["tools"];
  }

  void read_messages(const char* key, bool trains) {
    const Json& list = json_[key];
    expect(list.is_array(), key, ": expected a list of messages, found ", json_kind(list));
    expect(!list.empty(), key, ": expected at least one message, found none");
    for (std::size_t i = 0; i < list.size(); ++i)
      read_message(list[i], message(key, "[", i, "]"), trains);
  }

  /// {"role", "content", ...}, or ShareGPT's {"from", "value"}.
  void read_message(const Json& each, const std::string& where, bool trains) {
    expect(each.is_object(), where, ": expected an object, found ", json_kind(each));
    const bool share = has(each, "from");
    const std::string role = share ? share_role(json_text(each, "from", where + "."), where)
                                   : json_text(each, "role", where + ".");
    constexpr std::array roles{"system", "user", "assistant", "tool", "function", "developer"};
    expect(std::find(roles.begin(), roles.end(), role) != roles.end(), where,
           ".role: expected system, user, assistant or tool, found '", role, "'");
    const char* content = share ? "value" : "content";
    Json told = {{"role", role}};
    const bool calls = has(each, "tool_calls") || has(each, "function_call");
    expect(each.contains(content) || calls, where, ".", content,
           ": expected a text, found no such key");
    told["content"] = content_of(each, content, where + "." + content, calls);
    for (const auto& [name, value] : each.items()) {
      if (name == "role" || name == "from" || name == content || value.is_null()) continue;
      const std::string at = where + "." + name;
      if (name == "weight" || name == "train") {
        trains = trains && read_flag(value, at);
      } else if (name == "tool_calls" || name == "function_call" || name == "tool_call_id" ||
                 name == "name" || name == "reasoning_content" || name == "thinking") {
        told[name] = value;
      } else {
        expect(name == "id" || name == "message_id" || name == "timestamp" || name == "model", at,
               ": this key is not supported");
      }
    }
    row_.messages.push_back(std::move(told));
    row_.trains.push_back(trains);
  }

  static std::string share_role(const std::string& from, const std::string& where) {
    const auto is = [&](std::initializer_list<std::string_view> names) {
      return std::find(names.begin(), names.end(), from) != names.end();
    };
    if (is({"human", "user"})) return "user";
    if (is({"gpt", "assistant", "chatgpt", "model", "bing", "bard"})) return "assistant";
    if (is({"system"})) return "system";
    if (is({"tool", "observation", "function_response"})) return "tool";
    throw FormatError(
        message(where, ".from: expected human, gpt, system or tool, found '", from, "'"));
  }

  /// A text, a list of parts that are texts, or null beside calls.
  static Json content_of(const Json& each, const char* key, const std::string& where, bool calls) {
    if (!has(each, key)) {
      expect(calls, where, ": expected a text, found null");
      return nullptr;
    }
    const Json& content = each[key];
    if (content.is_string()) return content;
    expect(content.is_array(), where, ": expected a text, found ", json_kind(content));
    std::string all;
    for (std::size_t i = 0; i < content.size(); ++i) {
      const std::string at = message(where, "[", i, "]");
      expect(content[i].is_object(), at, ": expected an object, found ", json_kind(content[i]));
      const std::string type = json_text(content[i], "type", at + ".");
      expect(type == "text", at, ".type: expected text, found '", type, "'");
      all += json_text(content[i], "text", at + ".");
    }
    return all;
  }

  /// 0, 1, false or true.
  static bool read_flag(const Json& value, const std::string& where) {
    const bool known = value.is_boolean() || value == 0 || value == 1;
    expect(known, where, ": expected 0 or 1, found ", value.dump());
    return value.is_boolean() ? value.get<bool>() : value == 1;
  }

  void read_instruction() {
    only({"instruction", "input", "output", "system", "history", "text"});
    row_.kind = RowKind::chat;
    const std::string instruction = json_text(json_, "instruction"), input = text_or_empty("input"),
                      output = json_text(json_, "output");
    if (has("text")) {  // Alpaca's own file has the three in one once more
      const std::string all = json_text(json_, "text");
      expect(all.find(instruction) != std::string::npos && all.find(output) != std::string::npos,
             "text: expected the instruction and the output once more, found something else");
    }
    if (const std::string system = text_or_empty("system"); !system.empty()) add("system", system);
    if (has("history")) read_history();
    add("user", input.empty() ? instruction : instruction + "\n\n" + input);
    add("assistant", output);
  }

  /// Pairs of what was asked and answered before.
  void read_history() {
    const Json& list = json_["history"];
    expect(list.is_array(), "history: expected a list of pairs, found ", json_kind(list));
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string where = message("history[", i, "]");
      expect(list[i].is_array() && list[i].size() == 2, where, ": expected a pair of texts, found ",
             list[i].is_array() ? message(list[i].size(), " of them") : json_kind(list[i]));
      for (std::size_t j = 0; j < 2; ++j) {
        expect(list[i][j].is_string(), where, "[", j, "]: expected a text, found ",
               json_kind(list[i][j]));
        add(j == 0 ? "user" : "assistant", list[i][j].get<std::string>());
      }
    }
  }

  /// Two texts, or two lists of messages of which the first is not trained on.
  void read_completion() {
    only({"prompt", "completion", "tools"});
    const bool lists = json_["prompt"].is_array() || json_["completion"].is_array();
    if (lists) {
      row_.kind = RowKind::chat;
      read_messages("prompt", false);
      read_messages("completion", true);
      read_tools();
    } else {
      expect(!has("tools"), "tools: expected messages in prompt and completion, found texts");
      row_.kind = RowKind::completion;
      row_.prompt = json_text(json_, "prompt");
      row_.text = json_text(json_, "completion");
    }
  }

  const Json& json_;
  DataRow row_;
};

inline std::string_view name_of(RowKind kind) {
  return kind == RowKind::chat         ? "a chat"
         : kind == RowKind::completion ? "a prompt with its completion"
                                       : "a text";
}

}  // namespace text_detail

/// The rows of a text in JSON lines or one JSON list, all of one kind. `name`: the file, for
/// messages. Throws FormatError that begins with `name:line:` and names the field.
inline std::vector<DataRow> rows_of_text(const std::string& name, std::string_view text) {
  std::vector<DataRow> rows;
  std::size_t first_line = 0;
  for (const JsonRow& each : json_rows(name, text)) {
    const std::string where = message(name, ":", each.line);
    try {
      rows.push_back(text_detail::RowReader(each.value).read());
      rows.back().where = where;
      if (rows.size() == 1) first_line = each.line;
      require<FormatError>(rows.back().kind == rows.front().kind, "expected ",
                           text_detail::name_of(rows.front().kind), " as in line ", first_line,
                           ", found ", text_detail::name_of(rows.back().kind));
    } catch (const FormatError& failure) {
      throw FormatError(message(where, ": ", failure.what()));
    }
  }
  return rows;
}

/// The rows of a file; a plain text is one row. Throws IoError, or FormatError as read_data_text
/// and rows_of_text do.
inline std::vector<DataRow> read_rows(const std::filesystem::path& path) {
  std::string text = read_data_text(path);
  if (holds_json(path, text)) return rows_of_text(path.string(), text);
  DataRow row;
  row.where = path.string();
  row.text = std::move(text);
  return {row};
}

}  // namespace qlora::inline QLORA_ABI
