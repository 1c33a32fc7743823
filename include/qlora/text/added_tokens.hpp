/// Tokens that stand in a text as they are written, found before the text is split: the longest
/// one at the leftmost place, as Hugging Face's tokenizers find them. Source: their
/// added_vocabulary.rs.
///
///     qlora::AddedTokens added({{.id = 7, .text = "<|end|>", .special = true}});
///     added.split("a<|end|>", true, [](std::string_view) { ... }, [](qlora::Token) { ... });
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/token.hpp"
#include "qlora/text/regex.hpp"
#include "qlora/text/split_pattern.hpp"

namespace qlora::inline QLORA_ABI {

/// A token that was added to the vocabulary, with the meaning of the fields in tokenizer.json.
struct AddedToken {
  Token id = 0;
  std::string text;
  bool special = false;      ///< control: only where the text is not a user's own
  bool single_word = false;  ///< only where no letter, mark, digit or underscore touches it
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space after it
  bool normalized = false;   ///< looked for after those that are not

  bool operator==(const AddedToken&) const = default;
};

namespace text_detail {

/// Texts by their bytes. Nodes are numbered; an edge is a node and a byte.
class Trie {
 public:
  void add(std::string_view text, std::size_t value) {
    std::uint32_t node = 0;
    for (const char c : text) {
      const auto [place, is_new] =
          edges_.try_emplace(key(node, c), static_cast<std::uint32_t>(values_.size()));
      if (is_new) values_.push_back(none);
      node = place->second;
    }
    if (values_[node] == none) values_[node] = value;
    if (!text.empty()) first_[static_cast<unsigned char>(text[0])] = true;
  }

  bool empty() const { return edges_.empty(); }

  /// The longest text that stands at the place: its length and value; length 0 without one.
  std::pair<std::size_t, std::size_t> longest(std::string_view text, std::size_t at) const {
    std::pair<std::size_t, std::size_t> best{0, none};
    if (!first_[static_cast<unsigned char>(text[at])]) return best;
    std::uint32_t node = 0;
    for (std::size_t i = at; i < text.size(); ++i) {
      const auto edge = edges_.find(key(node, text[i]));
      if (edge == edges_.end()) break;
      node = edge->second;
      if (values_[node] != none) best = {i + 1 - at, values_[node]};
    }
    return best;
  }

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  static std::uint64_t key(std::uint32_t node, char c) {
    return (std::uint64_t{node} << 8) | static_cast<unsigned char>(c);
  }

  std::unordered_map<std::uint64_t, std::uint32_t> edges_;
  std::vector<std::size_t> values_{none};
  std::array<bool, 256> first_{};
};

}  // namespace text_detail

/// Finds added tokens in texts. Several threads may call its const members at once.
class AddedTokens {
 public:
  explicit AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
    for (std::size_t i = 0; i < tokens_.size(); ++i)
      if (!tokens_[i].text.empty()) tries_[tokens_[i].normalized ? 1 : 0].add(tokens_[i].text, i);
  }

  /// Calls `token(id)` for the added tokens in a text and `rest(part)` for what lies between them,
  /// in order. Without `with_special` a special token is text like any other.
  template <class Rest, class Found>
  void split(std::string_view text, bool with_special, Rest&& rest, Found&& token) const {
    split_by(
        tries_[0], text, with_special,
        [&](std::string_view part) { split_by(tries_[1], part, with_special, rest, token); },
        token);
  }

 private:
  template <class Rest, class Found>
  void split_by(const text_detail::Trie& trie, std::string_view text, bool with_special,
                Rest&& rest, Found&& found) const {
    std::size_t done = 0;
    for (std::size_t at = 0; at < text.size() && !trie.empty();) {
      const auto [length, which] = trie.longest(text, at);
      if (length == 0) {
        ++at;
        continue;
      }
      std::size_t begin = at, end = at + length;
      at = end;
      const AddedToken& token = tokens_[which];
      if (token.special && !with_special) continue;
      if (token.single_word && (word_before(text.substr(0, begin)) || word_after(text.substr(end))))
        continue;
      if (token.lstrip) begin -= spaces_before(text.substr(done, begin - done));
      if (token.rstrip) end += spaces_after(text.substr(end));
      at = end;
      if (begin > done) rest(text.substr(done, begin - done));
      found(token.id);
      done = end;
    }
    if (done < text.size()) rest(text.substr(done));
  }

  /// Patterns of word characters and white space at the ends of a text.
  struct Ends {
    // A word character: alphabetic, a mark, a decimal digit, a connector or a joiner. The four
    // ranges are alphabetic without being letters.
    static constexpr const char* word =
        R"([\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200c}\x{200d}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189}])";
    Regex is_word{std::string(R"(\A)") + word};
    Regex spaces{pcre_split(R"(\A\s+)")};
    Regex is_space{pcre_split(R"(\A\s)")};
  };
  static const Ends& ends() {
    static const Ends all;
    return all;
  }

  static std::size_t last_character(std::string_view text) {
    std::size_t at = text.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
    return at;
  }
  static bool word_before(std::string_view text) {
    return !text.empty() && word_after(text.substr(last_character(text)));
  }
  static bool word_after(std::string_view text) {
    return !text.empty() && ends().is_word.find(text).has_value();
  }
  static std::size_t spaces_before(std::string_view text) {
    std::size_t count = 0;
    while (count < text.size()) {
      const std::string_view left = text.substr(0, text.size() - count);
      const std::size_t last = last_character(left);
      if (!ends().is_space.find(left.substr(last))) break;
      count += left.size() - last;
    }
    return count;
  }
  static std::size_t spaces_after(std::string_view text) {
    const auto match = text.empty() ? std::nullopt : ends().spaces.find(text);
    return match ? (*match)[0].size() : 0;
  }

  std::vector<AddedToken> tokens_;
  std::array<text_detail::Trie, 2> tries_;
};

}  // namespace qlora::inline QLORA_ABI
