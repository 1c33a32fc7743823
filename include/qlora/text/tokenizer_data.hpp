/// The parts of a byte-level BPE tokenizer, whatever file they come from.
///
///     qlora::TokenizerData data = qlora::tokenizer_data(gguf);          // tokenizer_gguf.hpp
///     data = qlora::read_tokenizer_folder("SmolLM2-135M");              // tokenizer_json.hpp
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/token.hpp"
#include "qlora/text/added_tokens.hpp"
#include "qlora/text/split_pattern.hpp"

namespace qlora::inline QLORA_ABI {

/// A tokenizer's parts as its file has them. Several threads may read one object.
struct TokenizerData {
  std::string name;                 ///< the file, for messages
  std::vector<std::string> tokens;  ///< by id; bytes as GPT-2's printable stand-ins, added tokens
                                    ///< as they are written; empty where an id has no token
  std::vector<AddedToken> added;    ///< in order of id; the rest of `tokens` is the vocabulary
  std::vector<std::pair<std::string, std::string>> merges;  ///< in order of rank
  bool ignore_merges = false;       ///< a word that is a token is taken whole
  std::vector<std::string> splits;  ///< patterns whose matches are pieces, one after the other
  std::optional<Token> begin, end, unknown, padding;
  std::vector<Token> before, after;  ///< put before and after a text of its own
  std::vector<Token> ends;           ///< ids that end an answer, `end` among them
  std::string chat_template;         ///< Jinja, the one named default; empty without one
  std::vector<std::pair<std::string, std::string>> other_templates;  ///< by name
  std::vector<std::string> warnings;  ///< what a user should hear about the file

  /// The added token of an id; null if it has none.
  const AddedToken* find_added(Token id) const {
    const auto place =
        std::lower_bound(added.begin(), added.end(), id,
                         [](const AddedToken& token, Token wanted) { return token.id < wanted; });
    return place != added.end() && place->id == id ? &*place : nullptr;
  }
  /// Whether the id is an added token that is special.
  bool is_special(Token id) const {
    const AddedToken* token = find_added(id);
    return token != nullptr && token->special;
  }
};

namespace text_detail {

/// The parts of a merge "left right"; the first character may itself be a space.
inline std::pair<std::string, std::string> split_merge(const std::string& file,
                                                       const std::string& merge) {
  const auto space = merge.find(' ', 1);
  require<FormatError>(space != std::string::npos, file, ": merge '", merge,
                       "': expected two parts");
  return {merge.substr(0, space), merge.substr(space + 1)};
}

/// The text that files have where an id has no token.
inline std::string unused_name(std::size_t id) { return message("[unused", id, "]"); }

/// Adds an id to those that end an answer, once.
inline void add_end(TokenizerData& data, Token id) {
  if (std::find(data.ends.begin(), data.ends.end(), id) == data.ends.end()) data.ends.push_back(id);
}

}  // namespace text_detail

}  // namespace qlora::inline QLORA_ABI
