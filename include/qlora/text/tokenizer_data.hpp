/// What a byte-level BPE tokenizer is made of, whatever file it comes from.
///
///     qlora::Tokenizer tokenizer(qlora::tokenizer_data(gguf));
///     qlora::Tokenizer other(qlora::read_tokenizer_folder("SmolLM2-135M"));
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qlora/io/gguf.hpp"
#include "qlora/nn/embedding.hpp"

namespace qlora {

/// GPT-2's split: contractions, words, numbers and signs with the space before them, and white
/// space.
inline constexpr const char* gpt2_split =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
/// Each digit by itself.
inline constexpr const char* digit_split = R"(\p{N})";

struct TokenizerData {
  std::string name;                 ///< the file, for messages
  std::vector<std::string> tokens;  ///< by id; bytes as GPT-2's printable stand-ins
  std::vector<bool> special;        ///< by id: matched as text of its own, never merged
  std::vector<std::pair<std::string, std::string>> merges;  ///< in order of rank
  std::vector<std::string> splits;  ///< patterns whose matches are pieces, one after the other
  std::optional<Token> begin, end, unknown, padding;
  std::string chat_template;  ///< Jinja; empty without one
};

namespace detail {
/// The parts of a merge "left right"; the first character may itself be a space.
inline std::pair<std::string, std::string> split_merge(const std::string& file,
                                                       const std::string& merge) {
  const auto space = merge.find(' ', 1);
  require<FormatError>(space != std::string::npos, file, ": merge '", merge,
                       "': expected two parts");
  return {merge.substr(0, space), merge.substr(space + 1)};
}
}  // namespace detail

/// The tokenizer of a GGUF file. Throws FormatError for one that is not byte-level BPE or whose
/// split pattern is not known.
inline TokenizerData tokenizer_data(const GgufFile& file) {
  const auto model = file.get<std::string>("tokenizer.ggml.model");
  require<FormatError>(model == "gpt2", file.name(),
                       ": tokenizer.ggml.model: expected gpt2 (byte-level BPE), found ", model);
  const auto pre = file.find<std::string>("tokenizer.ggml.pre").value_or("gpt-2");
  require<FormatError>(pre == "smollm" || pre == "gpt-2", file.name(),
                       ": tokenizer.ggml.pre: expected smollm or gpt-2, found ", pre);
  TokenizerData data;
  data.name = file.name();
  data.tokens = file.get<std::vector<std::string>>("tokenizer.ggml.tokens");
  const auto types = file.get<std::vector<std::int64_t>>("tokenizer.ggml.token_type");
  require<FormatError>(types.size() == data.tokens.size(), file.name(), ": expected ",
                       data.tokens.size(), " token types, found ", types.size());
  for (const auto type : types) data.special.push_back(type == 3 || type == 4);
  for (const auto& merge : file.get<std::vector<std::string>>("tokenizer.ggml.merges"))
    data.merges.push_back(detail::split_merge(file.name(), merge));
  if (pre == "smollm") data.splits.emplace_back(digit_split);
  data.splits.emplace_back(gpt2_split);
  data.begin = file.find<Token>("tokenizer.ggml.bos_token_id");
  data.end = file.find<Token>("tokenizer.ggml.eos_token_id");
  data.unknown = file.find<Token>("tokenizer.ggml.unknown_token_id");
  data.padding = file.find<Token>("tokenizer.ggml.padding_token_id");
  data.chat_template = file.find<std::string>("tokenizer.chat_template").value_or("");
  return data;
}

}  // namespace qlora
