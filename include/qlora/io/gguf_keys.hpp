/// Reads the keys of a GGUF file that begin with one prefix by their names, and refuses keys that
/// nobody read, as JsonKeys does.
///
///     qlora::GgufKeys keys(gguf, "llama.");
///     const qlora::Index width = keys.size("embedding_length");
///     keys.only("attention.causal", true);
///     keys.refuse_rest();
#pragma once

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "qlora/core/config.hpp"
#include "qlora/io/gguf.hpp"
#include "qlora/io/json_keys.hpp"

namespace qlora::inline QLORA_ABI {

/// Reads keys of one file. Reading marks keys as read, so one thread uses an object at a time. The
/// file must live as long as this.
class GgufKeys {
 public:
  GgufKeys(const GgufFile& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {
    for (const auto& [key, value] : file.values())
      if (key.starts_with(prefix_)) unread_.insert(key.substr(prefix_.size()));
  }

  /// The place of a key, for messages: "m.gguf: llama.block_count".
  std::string where(const std::string& key) const { return file_.name() + ": " + prefix_ + key; }

  /// The key's value, null when it is absent. It counts as read.
  const GgufValue* find(const std::string& key) {
    unread_.erase(key);
    const auto place = file_.values().find(prefix_ + key);
    return place == file_.values().end() ? nullptr : &place->second;
  }

  /// A size of 1 or more; a list of equal sizes, one for each layer, counts as their one value.
  /// Throws FormatError for another value, and for an absent key unless `otherwise` is given. So do
  /// the other readers.
  Index size(const std::string& key, std::optional<Index> otherwise = {}) {
    const GgufValue* value = find_or_require(key, otherwise.has_value());
    if (!value) return *otherwise;
    return checked_size(
        std::visit(
            [&](const auto& held) -> Index {
              using V = std::remove_cvref_t<decltype(held)>;
              if constexpr (std::is_same_v<V, std::uint64_t>) {
                return held > std::uint64_t{largest_size} ? largest_size + 1
                                                          : static_cast<Index>(held);
              } else if constexpr (std::is_same_v<V, std::int64_t>) {
                return held;
              } else if constexpr (std::is_same_v<V, std::vector<std::int64_t>>) {
                require<FormatError>(!held.empty() && std::ranges::count(held, held.front()) ==
                                                          static_cast<std::ptrdiff_t>(held.size()),
                                     where(key), ": expected one number for all layers, found ",
                                     shown(*value));
                return held.front();
              } else {
                fail(key, "a whole number", *value);
              }
            },
            *value),
        where(key));
  }
  /// A number that is no truth value.
  double number(const std::string& key, std::optional<double> otherwise = {}) {
    const GgufValue* value = find_or_require(key, otherwise.has_value());
    if (!value) return *otherwise;
    return std::visit(
        [&](const auto& held) -> double {
          using V = std::remove_cvref_t<decltype(held)>;
          if constexpr (std::is_arithmetic_v<V> && !std::is_same_v<V, bool>)
            return static_cast<double>(held);
          else
            fail(key, "a number", *value);
        },
        *value);
  }
  /// A text.
  std::string text(const std::string& key, std::optional<std::string> otherwise = {}) {
    const GgufValue* value = find_or_require(key, otherwise.has_value());
    if (!value) return *std::move(otherwise);
    const auto* held = std::get_if<std::string>(value);
    if (!held) fail(key, "a text", *value);
    return *held;
  }

  /// Throws FormatError unless the key is absent or the number (or truth) is this one; `why` ends
  /// the message.
  void only(const std::string& key, double expected, const char* why = "") {
    if (find(key)) {
      const double found = number(key);
      require<FormatError>(found == expected, where(key), ": expected ", expected, ", found ",
                           found, why);
    }
  }
  void only(const std::string& key, bool expected, const char* why = "") {
    if (const GgufValue* value = find(key)) {
      const auto* held = std::get_if<bool>(value);
      require<FormatError>(held && *held == expected, where(key), ": expected ",
                           expected ? "true" : "false", ", found ", shown(*value), why);
    }
  }
  /// Keys that may have any value because no number depends on them.
  void changes_nothing(std::initializer_list<const char*> keys) {
    for (const char* key : keys) unread_.erase(key);
  }

  /// The keys that nobody read, without their prefix.
  const std::set<std::string>& rest() const { return unread_; }

  /// Throws FormatError that names a key nobody read.
  void refuse_rest() const {
    if (unread_.empty()) return;
    const std::string& key = *unread_.begin();
    throw FormatError(message(where(key), ": ", shown(file_.values().at(prefix_ + key)),
                              " is not supported: what this key changes is not known"));
  }

  /// A value as text, a list by its length.
  static std::string shown(const GgufValue& value) {
    return std::visit(
        [](const auto& held) -> std::string {
          using V = std::remove_cvref_t<decltype(held)>;
          if constexpr (std::is_same_v<V, bool>) {
            return held ? "true" : "false";
          } else if constexpr (std::is_same_v<V, std::string>) {
            return JsonKeys::shown(held);
          } else if constexpr (std::is_arithmetic_v<V>) {
            return message(held);
          } else {
            return message("a list of ", held.size());
          }
        },
        value);
  }

 private:
  const GgufValue* find_or_require(const std::string& key, bool optional) {
    const GgufValue* value = find(key);
    require<FormatError>(value || optional, file_.name(), ": expected the key '", prefix_, key,
                         "', found none");
    return value;
  }
  [[noreturn]] void fail(const std::string& key, const char* what, const GgufValue& found) const {
    throw FormatError(message(where(key), ": expected ", what, ", found ", shown(found)));
  }

  const GgufFile& file_;
  std::string prefix_;
  std::set<std::string> unread_;
};

}  // namespace qlora::inline QLORA_ABI
