/// What stands beside a tokenizer.json: tokenizer_config.json with the named tokens, the flags and
/// the chat templates, and the ids that end an answer. Users call read_tokenizer_folder of
/// tokenizer_json.hpp.
///
///     const nlohmann::json json = qlora::read_json_file("tokenizer_config.json");
///     qlora::text_detail::TokenizerConfig("tokenizer_config.json", json, tokenizer_data).read();
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/text/tokenizer_data.hpp"

namespace qlora::inline QLORA_ABI::text_detail {

/// Lays tokenizer_config.json over what tokenizer.json says, as transformers 5 does.
class TokenizerConfig {
 public:
  TokenizerConfig(const std::string& name, const nlohmann::json& config, TokenizerData& data)
      : name_(name), config_(config), data_(data) {}

  void read() {
    expect(config_.is_object(), "expected an object, found ", config_.type_name());
    for (const char* key : {"add_prefix_space", "split_special_tokens"})
      expect(!is_true(key), key, " is not supported");
    if (const auto* tokens = find("added_tokens_decoder"))
      for (const auto& [id, token] : tokens->items()) read_added(id, token);
    data_.begin = named_token("bos_token");
    data_.end = named_token("eos_token");
    data_.unknown = named_token("unk_token");
    data_.padding = named_token("pad_token");
    for (const char* key : {"additional_special_tokens", "extra_special_tokens"})
      if (const auto* tokens = find(key))
        for (const auto& token : *tokens) make_special(key, text_of(key, token));
    if (find("add_bos_token") != nullptr || find("add_eos_token") != nullptr) read_flags();
    if (const auto* chat = find("chat_template")) read_templates(*chat);
  }

 private:
  template <class... Parts>
  void expect(bool condition, const Parts&... parts) const {
    require<FormatError>(condition, name_, ": ", parts...);
  }
  const nlohmann::json* find(const char* key) const {
    const auto place = config_.find(key);
    return place == config_.end() || place->is_null() ? nullptr : &*place;
  }
  bool is_true(const char* key) const {
    const auto* value = find(key);
    expect(value == nullptr || value->is_boolean(), key, ": expected true or false, found ",
           value == nullptr ? "" : value->dump());
    return value != nullptr && value->get<bool>();
  }
  /// "<|end|>" or {"content": "<|end|>", ...}.
  std::string text_of(const std::string& key, const nlohmann::json& token) const {
    const bool holds_text = token.is_object() && token.contains("content");
    expect(token.is_string() || (holds_text && token["content"].is_string()), key,
           ": expected the text of a token, found ", token.dump());
    return holds_text ? token["content"].get<std::string>() : token.get<std::string>();
  }

  /// An added token of "id": {"content": ..., "special": ...}; where tokenizer.json says something
  /// else of it, this counts.
  void read_added(const std::string& key, const nlohmann::json& json) {
    const std::string where = "added_tokens_decoder: " + key;
    const bool number =
        !key.empty() && key.size() < 9 && key.find_first_not_of("0123456789") == std::string::npos;
    expect(number && json.is_object(), where, ": expected an id and its token");
    AddedToken token;
    token.id = static_cast<Token>(std::stol(key));
    token.text = text_of(where, json);
    const auto flag = [&](const char* name) {
      const auto place = json.find(name);
      return place != json.end() && place->is_boolean() && place->get<bool>();
    };
    token.special = flag("special");
    token.single_word = flag("single_word");
    token.lstrip = flag("lstrip");
    token.rstrip = flag("rstrip");
    token.normalized = flag("normalized");
    const auto id = static_cast<std::size_t>(token.id);
    expect(id <= data_.tokens.size(), where, ": expected an id of at most ", data_.tokens.size(),
           ": those before have no token");
    if (id == data_.tokens.size()) data_.tokens.push_back(token.text);
    expect(data_.tokens[id] == token.text, where, ": expected '", data_.tokens[id],
           "' as in tokenizer.json, found '", token.text, "'");
    put(std::move(token));
  }

  void put(AddedToken token) {
    const auto place =
        std::lower_bound(data_.added.begin(), data_.added.end(), token.id,
                         [](const AddedToken& each, Token wanted) { return each.id < wanted; });
    if (place == data_.added.end() || place->id != token.id) {
      data_.added.insert(place, std::move(token));
    } else {
      *place = std::move(token);
    }
  }

  /// A token that is named is special, whether or not tokenizer.json says so.
  Token make_special(const char* key, const std::string& text) {
    const auto place = std::find(data_.tokens.begin(), data_.tokens.end(), text);
    expect(place != data_.tokens.end(), key, ": '", text, "' is not a token of tokenizer.json");
    const auto id = static_cast<Token>(place - data_.tokens.begin());
    AddedToken token{.id = id, .text = text};
    if (const AddedToken* added = data_.find_added(id)) token = *added;
    token.special = true;
    put(std::move(token));
    return id;
  }
  std::optional<Token> named_token(const char* key) {
    const auto* token = find(key);
    if (token == nullptr) return std::nullopt;
    const std::string text = text_of(key, *token);
    if (text.empty()) return std::nullopt;
    return make_special(key, text);
  }

  /// With either flag the post-processor of tokenizer.json no longer counts.
  void read_flags() {
    const bool begins = is_true("add_bos_token"), ends = is_true("add_eos_token");
    expect(!begins || data_.begin, "add_bos_token: expected a bos_token, found none");
    expect(!ends || data_.end, "add_eos_token: expected an eos_token, found none");
    const std::vector<Token> before = begins ? std::vector{*data_.begin} : std::vector<Token>{};
    const std::vector<Token> after = ends ? std::vector{*data_.end} : std::vector<Token>{};
    if (before != data_.before || after != data_.after)
      data_.warnings.push_back(name_ +
                               ": add_bos_token and add_eos_token say something else than the "
                               "post_processor of tokenizer.json; they count");
    data_.before = before;
    data_.after = after;
  }

  /// One text, or a list of named ones.
  void read_templates(const nlohmann::json& chat) {
    if (chat.is_string()) {
      data_.chat_template = chat.get<std::string>();
      return;
    }
    expect(chat.is_array(), "chat_template: expected a text or a list, found ", chat.type_name());
    for (const auto& each : chat) {
      const auto name = each.at("name").get<std::string>();
      const auto text = each.at("template").get<std::string>();
      if (name == "default") {
        data_.chat_template = text;
      } else {
        data_.other_templates.emplace_back(name, text);
      }
    }
  }

  const std::string& name_;
  const nlohmann::json& config_;
  TokenizerData& data_;
};

/// The ids of eos_token_id, a number or a list of them.
inline std::vector<Token> end_ids(const std::string& where, const nlohmann::json& config) {
  std::vector<Token> ids;
  const auto place = config.find("eos_token_id");
  if (place == config.end() || place->is_null()) return ids;
  const auto add = [&](const nlohmann::json& value) {
    const Index id = whole_number(value, where + ": eos_token_id");
    require<FormatError>(id <= 0x7fffffff, where, ": eos_token_id: ", id, " is no token's id");
    ids.push_back(static_cast<Token>(id));
  };
  if (place->is_array()) {
    for (const auto& id : *place) add(id);
  } else {
    add(*place);
  }
  return ids;
}

}  // namespace qlora::inline QLORA_ABI::text_detail
