/// Byte-level byte-pair encoding: split by the tokenizer's patterns, then merge pairs of lowest
/// rank. Sennrich et al. 2016; Radford et al. 2019 (bytes).
///
///     qlora::Tokenizer tokenizer(qlora::tokenizer_data(gguf));
///     auto ids = tokenizer.encode("Hello <|im_end|>");             // special tokens recognized
///     ids = tokenizer.encode_plain("never special: <|im_end|>");   // what a user says
///     ids = tokenizer.encode_document("a text of its own");        // the beginning's token first
///     tokenizer.decode(ids);
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <queue>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/added_tokens.hpp"
#include "qlora/text/byte_level.hpp"
#include "qlora/text/regex.hpp"
#include "qlora/text/split_pattern.hpp"
#include "qlora/text/tokenizer_data.hpp"
#include "qlora/text/utf8.hpp"

namespace qlora::inline QLORA_ABI {

/// Turns texts into ids and back. Several threads may call its const members at once.
class Tokenizer {
 public:
  /// Throws FormatError for a merge whose parts are not in the vocabulary, an added token that is
  /// not UTF-8, or a pattern that does not compile or means something else to PCRE2.
  explicit Tokenizer(const TokenizerData& data)
      : added_(data.added),
        before_(data.before),
        after_(data.after),
        ends_(data.ends),
        end_(data.end),
        ignore_merges_(data.ignore_merges) {
    for (const auto& split : data.splits) {
      try {
        splits_.emplace_back(pcre_split(split));
      } catch (const FormatError& failure) {
        throw FormatError(message(data.name, ": ", failure.what()));
      }
    }
    byte_ids_.fill(ignored_id);
    is_special_.assign(data.tokens.size(), false);
    for (std::size_t id = 0; id < data.tokens.size(); ++id) add_token(data, static_cast<Token>(id));
    for (const AddedToken& token : data.added) add_to_words(token);
    for (const auto& [left, right] : data.merges) add_merge(data.name, left, right);
  }

  /// The number of ids, those without a token included.
  Index size() const { return static_cast<Index>(pieces_.size()); }
  /// The token that ends a sequence, if the tokenizer has one.
  std::optional<Token> end_of_sequence() const { return end_; }

  /// Whether this id ends an answer: it ends the sequence, or the model's files name it as an end.
  bool is_end(Token id) const { return std::find(ends_.begin(), ends_.end(), id) != ends_.end(); }
  /// All ids for which is_end holds.
  const std::vector<Token>& ends() const { return ends_; }
  /// What encode_document puts before a text; mostly nothing, or the token that begins a sequence.
  const std::vector<Token>& before_text() const { return before_; }
  /// What encode_document puts after a text; mostly nothing.
  const std::vector<Token>& after_text() const { return after_; }

  /// The id of a special token. Throws FormatError when there is none of that text.
  Token special(std::string_view text) const {
    const auto place = special_ids_.find(std::string(text));
    require<FormatError>(place != special_ids_.end(), "tokenizer: expected a special token '", text,
                         "', found none");
    return place->second;
  }
  /// Whether the id is a special token; false for an id without a token.
  bool is_special(Token id) const {
    return id >= 0 && id < size() && is_special_[static_cast<std::size_t>(id)];
  }

  /// Ids of a text in which special tokens count as such. Invalid UTF-8 becomes U+FFFD first.
  std::vector<Token> encode(std::string_view text) const { return encode(text, true); }

  /// Ids of a text in which nothing is special: what a chat message says. Added tokens that are not
  /// special are found here too.
  std::vector<Token> encode_plain(std::string_view text) const { return encode(text, false); }

  /// Ids of a text that stands by itself, as `encode` with before_text() and after_text() around
  /// them: what transformers gives with special tokens, and llama.cpp.
  std::vector<Token> encode_document(std::string_view text) const {
    std::vector<Token> ids = before_;
    const std::vector<Token> inner = encode(text);
    ids.insert(ids.end(), inner.begin(), inner.end());
    ids.insert(ids.end(), after_.begin(), after_.end());
    return ids;
  }

  /// The bytes that a token stands for. An id beyond the last token, which models with a padded
  /// vocabulary may produce, gives an empty text. Throws ShapeError for a negative id.
  const std::string& piece(Token id) const {
    static const std::string nothing;
    require<ShapeError>(id >= 0, "tokenizer: expected an id of 0 or more, found ", id);
    return id < size() ? pieces_[static_cast<std::size_t>(id)] : nothing;
  }

  /// The text of ids, invalid UTF-8 replaced.
  std::string decode(std::span<const Token> ids, bool skip_special = false) const {
    std::string bytes;
    for (const Token id : ids)
      if (const auto& text = piece(id); !skip_special || !is_special(id)) bytes += text;
    return repair_utf8(bytes);
  }

 private:
  static constexpr Token ignored_id = -1;
  struct Merge {
    int rank;
    Token id;
  };

  static std::uint64_t pair_key(Token left, Token right) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
           static_cast<std::uint32_t>(right);
  }

  void add_token(const TokenizerData& data, Token id) {
    const std::string& text = data.tokens[static_cast<std::size_t>(id)];
    const AddedToken* added = data.find_added(id);
    if (added == nullptr) {
      pieces_.push_back(text_detail::bytes_of_stand_ins(text).value_or(text));
      if (text.empty()) return;
      ids_.emplace(pieces_.back(), id);
      if (pieces_.back().size() == 1) byte_ids_[static_cast<unsigned char>(pieces_.back()[0])] = id;
      return;
    }
    require<FormatError>(repair_utf8(added->text) == added->text, data.name, ": added token ", id,
                         ": expected valid UTF-8");
    pieces_.push_back(added->text);
    is_special_[static_cast<std::size_t>(id)] = added->special;
    if (added->special) special_ids_.emplace(added->text, id);
  }

  /// Merges may make an added token that is not special.
  void add_to_words(const AddedToken& token) {
    if (token.special) return;
    const std::string bytes = text_detail::bytes_of_stand_ins(token.text).value_or(token.text);
    ids_.emplace(bytes, token.id);
    if (bytes.size() != 1) return;
    Token& id = byte_ids_[static_cast<unsigned char>(bytes[0])];
    if (id == ignored_id) id = token.id;
  }

  void add_merge(const std::string& file, const std::string& left_text,
                 const std::string& right_text) {
    const auto left = text_detail::bytes_of_stand_ins(left_text);
    const auto right = text_detail::bytes_of_stand_ins(right_text);
    // Text that no byte stands for is in no vocabulary, nor is its merge.
    const auto first = ids_.find(left.value_or(left_text));
    const auto second = ids_.find(right.value_or(right_text));
    const auto whole = ids_.find(left.value_or(left_text) + right.value_or(right_text));
    require<FormatError>(first != ids_.end() && second != ids_.end() && whole != ids_.end(), file,
                         ": merge '", left_text, " ", right_text,
                         "': its parts or its whole are not in the vocabulary");
    merges_.emplace(pair_key(first->second, second->second),
                    Merge{static_cast<int>(merges_.size()), whole->second});
  }

  std::vector<Token> encode(std::string_view text, bool with_special) const {
    const std::string valid = repair_utf8(text);
    std::vector<Token> ids;
    added_.split(
        valid, with_special, [&](std::string_view part) { encode_valid(part, ids); },
        [&](Token id) { ids.push_back(id); });
    return ids;
  }

  /// The patterns split one after the other, then each piece is a word.
  void encode_valid(std::string_view text, std::vector<Token>& ids, std::size_t split = 0) const {
    if (split == splits_.size()) return encode_word(text, ids);
    splits_[split].split(
        text, [&](std::string_view piece, bool) { encode_valid(piece, ids, split + 1); });
  }

  /// Merges the pair of lowest rank, the leftmost of equals, until none is left: a heap over a
  /// linked list. A byte that the vocabulary lacks is left out, as Hugging Face's tokenizers do.
  void encode_word(std::string_view word, std::vector<Token>& ids) const {
    if (ignore_merges_) {
      const auto whole = ids_.find(std::string(word));
      if (whole != ids_.end()) {
        ids.push_back(whole->second);
        return;
      }
    }
    struct Node {
      Token id;
      int previous, next;
    };
    struct Candidate {
      int rank, left;
      Token left_id, right_id;
      bool operator<(const Candidate& other) const {
        return rank != other.rank ? rank > other.rank : left > other.left;
      }
    };
    std::vector<Node> nodes;
    for (const char c : word) {
      const Token id = byte_ids_[static_cast<unsigned char>(c)];
      if (id == ignored_id) continue;
      const int place = static_cast<int>(nodes.size());
      nodes.push_back({id, place - 1, place + 1});
    }
    if (nodes.empty()) return;
    nodes.back().next = -1;
    std::priority_queue<Candidate> queue;
    const auto offer = [&](int left) {
      if (left < 0 || nodes[static_cast<std::size_t>(left)].next < 0) return;
      const Node& a = nodes[static_cast<std::size_t>(left)];
      const Token right_id = nodes[static_cast<std::size_t>(a.next)].id;
      const auto merge = merges_.find(pair_key(a.id, right_id));
      if (merge != merges_.end()) queue.push({merge->second.rank, left, a.id, right_id});
    };
    for (int i = 0; i + 1 < static_cast<int>(nodes.size()); ++i) offer(i);
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      Node& left = nodes[static_cast<std::size_t>(best.left)];
      if (left.id != best.left_id || left.next < 0 ||
          nodes[static_cast<std::size_t>(left.next)].id != best.right_id)
        continue;
      Node& right = nodes[static_cast<std::size_t>(left.next)];
      left.id = merges_.at(pair_key(best.left_id, best.right_id)).id;
      right.id = ignored_id;
      left.next = right.next;
      if (left.next >= 0) nodes[static_cast<std::size_t>(left.next)].previous = best.left;
      offer(left.previous);
      offer(best.left);
    }
    for (int i = 0; i >= 0; i = nodes[static_cast<std::size_t>(i)].next)
      ids.push_back(nodes[static_cast<std::size_t>(i)].id);
  }

  AddedTokens added_;
  std::vector<Regex> splits_;
  std::vector<std::string> pieces_;
  std::vector<bool> is_special_;
  std::unordered_map<std::string, Token> ids_, special_ids_;
  std::array<Token, 256> byte_ids_{};
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::vector<Token> before_, after_, ends_;
  std::optional<Token> end_;
  bool ignore_merges_ = false;
};

}  // namespace qlora::inline QLORA_ABI
