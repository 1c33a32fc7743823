/// Byte-level byte-pair encoding: split by the tokenizer's patterns, then merge pairs of lowest
/// rank. Sennrich et al. 2016; Radford et al. 2019 (bytes).
///
///     qlora::Tokenizer tokenizer(qlora::tokenizer_data(gguf));
///     std::vector<qlora::Token> ids = tokenizer.encode("Hello <|im_end|>");  // a special token
///     ids = tokenizer.encode_plain("never special: <|im_end|>");
///     tokenizer.decode(ids);
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <queue>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "qlora/text/regex.hpp"
#include "qlora/text/tokenizer_data.hpp"
#include "qlora/text/utf8.hpp"

namespace qlora {

namespace detail {

/// GPT-2's printable stand-ins for bytes, as code points: printable Latin-1 stands for itself, the
/// rest from 256 up.
inline std::array<std::uint32_t, 256> byte_code_points() {
  std::array<std::uint32_t, 256> points{};
  std::uint32_t next = 256;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    points[byte] = printable ? byte : next++;
  }
  return points;
}

/// A vocabulary entry in stand-ins back to its bytes; nothing when it holds other characters.
inline std::optional<std::string> bytes_of_stand_ins(std::string_view text) {
  static const auto bytes = [] {
    std::unordered_map<std::uint32_t, char> map;
    const auto points = byte_code_points();
    for (std::uint32_t byte = 0; byte < 256; ++byte) map[points[byte]] = static_cast<char>(byte);
    return map;
  }();
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    std::uint32_t point = first;
    std::size_t length = 1;
    if (first >= 0xc0 && first < 0xe0 && i + 1 < text.size()) {
      point = ((first & 0x1fu) << 6) | (static_cast<unsigned char>(text[i + 1]) & 0x3fu);
      length = 2;
    }
    const auto place = bytes.find(point);
    if (place == bytes.end()) return std::nullopt;
    result += place->second;
    i += length;
  }
  return result;
}

}  // namespace detail

class Tokenizer {
 public:
  /// Throws FormatError for a merge whose parts are not in the vocabulary, or a pattern that does
  /// not compile.
  explicit Tokenizer(const TokenizerData& data) : special_(make_special(data)), end_(data.end) {
    for (const auto& split : data.splits) {
      try {
        splits_.emplace_back(split);
      } catch (const FormatError& failure) {
        throw FormatError(message(data.name, ": ", failure.what()));
      }
    }
    byte_ids_.fill(ignored_id);
    for (std::size_t id = 0; id < data.tokens.size(); ++id)
      add_token(data.tokens[id], data.special[id], static_cast<Token>(id));
    for (const auto& [left, right] : data.merges) add_merge(data.name, left, right);
  }

  Index size() const { return static_cast<Index>(pieces_.size()); }
  std::optional<Token> end_of_sequence() const { return end_; }

  /// The id of a special token. Throws FormatError when there is none of that text.
  Token special(std::string_view text) const {
    const auto place = special_ids_.find(std::string(text));
    require<FormatError>(place != special_ids_.end(), "tokenizer: expected a special token '", text,
                         "', found none");
    return place->second;
  }
  bool is_special(Token id) const { return is_special_[static_cast<std::size_t>(id)]; }

  /// Ids of a text in which special tokens count as such. Invalid UTF-8 becomes U+FFFD first.
  std::vector<Token> encode(std::string_view text) const {
    const std::string valid = repair_utf8(text);
    std::vector<Token> ids;
    special_.split(valid, [&](std::string_view piece, bool matched) {
      if (matched) {
        ids.push_back(special_ids_.at(std::string(piece)));
      } else {
        encode_valid(piece, ids);
      }
    });
    return ids;
  }

  /// Ids of a text in which nothing is special: what a chat message says.
  std::vector<Token> encode_plain(std::string_view text) const {
    std::vector<Token> ids;
    encode_valid(repair_utf8(text), ids);
    return ids;
  }

  /// The bytes a token stands for. Throws ShapeError for an id outside the vocabulary.
  const std::string& piece(Token id) const {
    require<ShapeError>(id >= 0 && id < size(), "tokenizer: expected an id below ", size(),
                        ", found ", id);
    return pieces_[static_cast<std::size_t>(id)];
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

  /// The special tokens, longest first, each as a literal.
  static Regex make_special(const TokenizerData& data) {
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < data.tokens.size(); ++i)
      if (data.special[i] && !data.tokens[i].empty()) texts.push_back(data.tokens[i]);
    std::sort(texts.begin(), texts.end(),
              [](const auto& a, const auto& b) { return a.size() > b.size(); });
    std::string pattern = texts.empty() ? "(?!)" : "";
    for (const auto& text : texts) {
      if (!pattern.empty()) pattern += '|';
      append_literal(text, pattern);
    }
    return Regex(pattern);
  }

  /// Text that a pattern takes as it is; ASCII signs are escaped.
  static void append_literal(const std::string& text, std::string& pattern) {
    for (const char c : text) {
      const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                         (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 128;
      if (!plain) pattern += '\\';
      pattern += c;
    }
  }

  void add_token(const std::string& text, bool special, Token id) {
    is_special_.push_back(special);
    if (special) {
      pieces_.push_back(text);
      special_ids_.emplace(text, id);
      return;
    }
    pieces_.push_back(detail::bytes_of_stand_ins(text).value_or(text));
    ids_.emplace(pieces_.back(), id);
    if (pieces_.back().size() == 1) byte_ids_[static_cast<unsigned char>(pieces_.back()[0])] = id;
  }

  void add_merge(const std::string& file, const std::string& left_text,
                 const std::string& right_text) {
    const auto left = detail::bytes_of_stand_ins(left_text);
    const auto right = detail::bytes_of_stand_ins(right_text);
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

  /// The patterns split one after the other, then each piece is a word.
  void encode_valid(std::string_view text, std::vector<Token>& ids, std::size_t split = 0) const {
    if (split == splits_.size()) return encode_word(text, ids);
    splits_[split].split(
        text, [&](std::string_view piece, bool) { encode_valid(piece, ids, split + 1); });
  }

  /// Merges the pair of lowest rank, the leftmost of equals, until none is left: a heap over a
  /// linked list. A byte that the vocabulary lacks is left out, as Hugging Face's tokenizers do.
  void encode_word(std::string_view word, std::vector<Token>& ids) const {
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

  Regex special_;
  std::vector<Regex> splits_;
  std::vector<std::string> pieces_;
  std::vector<bool> is_special_;
  std::unordered_map<std::string, Token> ids_, special_ids_;
  std::array<Token, 256> byte_ids_{};
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::optional<Token> end_;
};

}  // namespace qlora
