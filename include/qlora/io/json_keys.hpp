/// The keys of a JSON object, read by name; what nobody read is refused, so that no key can change
/// what a file means without being noticed.
///
///     const nlohmann::json json = qlora::read_json_file("config.json");
///     qlora::JsonKeys keys("config.json", json);
///     const qlora::Index width = keys.size("hidden_size");
///     const double theta = keys.number("rope_theta", 10000.0);
///     keys.only("attention_bias", false);         // any other value is refused
///     keys.changes_nothing({"transformers_version", "use_cache"});
///     keys.refuse_rest();
///
/// A key whose value is null counts as absent, as in transformers and PEFT.
#pragma once

#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/io/json_file.hpp"

namespace qlora::inline QLORA_ABI {

/// Sizes in files are at most this; larger ones come from broken files and would overflow.
inline constexpr Index largest_size = 2147483647;

/// Throws FormatError unless 1 <= size <= largest_size. `where` names file and key.
inline Index checked_size(Index size, const std::string& where) {
  require<FormatError>(size >= 1 && size <= largest_size, where,
                       ": expected a whole number from 1 to ", largest_size, ", found ", size);
  return size;
}

/// Throws FormatError unless the number is finite and above 0. `where` names file and key.
inline double checked_positive(double number, const std::string& where) {
  require<FormatError>(std::isfinite(number) && number > 0, where,
                       ": expected a finite number above 0, found ", number);
  return number;
}

/// Reads keys of one object. Reading marks keys as read, so one thread uses an object at a time.
class JsonKeys {
 public:
  /// where: the file, for messages, and the path of an object inside it. The JSON must live as long
  /// as this. Throws FormatError for what is no object.
  JsonKeys(std::string where, const nlohmann::json& json) : where_(std::move(where)), json_(json) {
    require<FormatError>(json.is_object(), where_, ": expected an object, found ", shown(json));
    for (const auto& [key, value] : json.items())
      if (!value.is_null()) unread_.insert(key);
  }

  /// The place of the object, for messages.
  const std::string& where() const { return where_; }
  /// The place of a key, for messages: "config.json: hidden_size".
  std::string where(std::string_view key) const { return where_ + ": " + std::string(key); }

  /// The key's value, null when it is absent. It counts as read.
  const nlohmann::json* find(const std::string& key) {
    unread_.erase(key);
    const auto place = json_.find(key);
    return place == json_.end() || place->is_null() ? nullptr : &*place;
  }

  /// Whether the key is there, even with a null value. That differs from an absent key where the
  /// default is not null.
  bool contains(const std::string& key) const { return json_.contains(key); }

  /// A size of 1 or more. Throws FormatError for another value, and for an absent key unless
  /// `otherwise` is given. So do the other readers.
  Index size(const std::string& key, std::optional<Index> otherwise = {}) {
    const auto* value = find_or_require(key, otherwise.has_value());
    return value ? checked_size(whole_number(*value, where(key)), where(key)) : *otherwise;
  }
  /// A number.
  double number(const std::string& key, std::optional<double> otherwise = {}) {
    const auto* value = find_or_require(key, otherwise.has_value());
    if (!value) return *otherwise;
    expect(value->is_number(), key, "a number", *value);
    return value->get<double>();
  }
  /// True or false.
  bool flag(const std::string& key, std::optional<bool> otherwise = {}) {
    const auto* value = find_or_require(key, otherwise.has_value());
    if (!value) return *otherwise;
    expect(value->is_boolean(), key, "true or false", *value);
    return value->get<bool>();
  }
  /// A text.
  std::string text(const std::string& key, std::optional<std::string> otherwise = {}) {
    const auto* value = find_or_require(key, otherwise.has_value());
    if (!value) return *otherwise;
    expect(value->is_string(), key, "a text", *value);
    return value->get<std::string>();
  }

  /// Throws FormatError unless the key is absent or has this value; `why` ends the message.
  void only(const std::string& key, const nlohmann::json& expected, const char* why = "") {
    if (const auto* value = find(key))
      require<FormatError>(*value == expected, where(key), ": expected ", shown(expected),
                           ", found ", shown(*value), why);
  }
  /// Throws FormatError unless the key is absent, false, or an empty text, list or object; `why`
  /// ends the message.
  void off(const std::string& key, const char* why = "") {
    const auto* value = find(key);
    require<FormatError>(!value || is_off(*value), where(key), ": ", value ? shown(*value) : "",
                         " is not supported", why);
  }
  /// Keys that may have any value because no number depends on them.
  void changes_nothing(std::initializer_list<const char*> keys) {
    for (const char* key : keys) unread_.erase(key);
  }

  /// Throws FormatError that names a key nobody read.
  void refuse_rest() const {
    if (unread_.empty()) return;
    const std::string& key = *unread_.begin();
    throw FormatError(message(where(key), ": ", shown(json_.at(key)),
                              " is not supported: what this key changes is not known"));
  }
  /// The same, but keys that are off (see there) are let pass.
  void refuse_rest_that_is_on() {
    std::erase_if(unread_, [&](const std::string& key) { return is_off(json_.at(key)); });
    refuse_rest();
  }

  /// A value as JSON, cut where it is long.
  static std::string shown(const nlohmann::json& value) {
    std::string text = value.is_string()
                           ? value.get<std::string>()
                           : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    constexpr std::size_t longest = 80;
    if (text.size() > longest) text = text.substr(0, longest - 3) + "...";
    return text;
  }

 private:
  static bool is_off(const nlohmann::json& value) {
    return value == false || ((value.is_object() || value.is_array()) && value.empty()) ||
           value == "";
  }
  const nlohmann::json* find_or_require(const std::string& key, bool optional) {
    const auto* value = find(key);
    require<FormatError>(value || optional, where_, ": expected the key '", key, "', found none");
    return value;
  }
  void expect(bool fits, const std::string& key, const char* what,
              const nlohmann::json& found) const {
    require<FormatError>(fits, where(key), ": expected ", what, ", found ", shown(found));
  }

  std::string where_;
  const nlohmann::json& json_;
  std::set<std::string> unread_;
};

}  // namespace qlora::inline QLORA_ABI
