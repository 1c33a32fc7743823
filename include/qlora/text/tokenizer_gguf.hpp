/// Tokenizers as GGUF files hold them, read and written.
///
///     qlora::TokenizerData data = qlora::tokenizer_data(qlora::GgufFile("model.gguf"));
///     qlora::set_tokenizer_keys(gguf_writer, data, rows);   // rows of the embedding
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/io/gguf.hpp"
#include "qlora/io/gguf_writer.hpp"
#include "qlora/text/tokenizer_data.hpp"

namespace qlora::inline QLORA_ABI {

namespace text_detail {

/// The types of tokens in GGUF.
enum class GgufToken : std::uint8_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

/// Texts that end an answer, whatever type a file gives them; the list is llama.cpp's.
inline bool is_end_text(std::string_view text) {
  constexpr std::array<std::string_view, 12> ends{
      "<|eot_id|>", "<|im_end|>",    "<|end|>",         "<end_of_turn>",
      "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_utterance>",
      "<EOT>",      "_<EOT>",        "[EOT]",           "<｜end▁of▁sentence｜>"};
  return std::find(ends.begin(), ends.end(), text) != ends.end();
}

/// Reads the keys tokenizer.* piece by piece.
class GgufTokenizer {
 public:
  explicit GgufTokenizer(const GgufFile& file) : file_(file) { data_.name = file.name(); }

  TokenizerData read() {
    read_kind();
    data_.tokens = file_.get<std::vector<std::string>>(key("tokens"));
    for (const auto& merge : file_.get<std::vector<std::string>>(key("merges")))
      data_.merges.push_back(split_merge(file_.name(), merge));
    data_.begin = id("bos_token_id");
    data_.end = id("eos_token_id");
    data_.unknown = id("unknown_token_id");
    data_.padding = id("padding_token_id");
    read_types();
    read_around();
    read_ends();
    read_templates();
    return std::move(data_);
  }

 private:
  static std::string key(const std::string& name) { return "tokenizer.ggml." + name; }
  template <class... Parts>
  void expect(bool condition, const Parts&... parts) const {
    require<FormatError>(condition, file_.name(), ": ", parts...);
  }

  void read_kind() {
    const auto model = file_.get<std::string>(key("model"));
    expect(model == "gpt2", "tokenizer.ggml.model: expected gpt2 (byte-level BPE), found ", model,
           model == "llama" ? " (SentencePiece), which is not supported yet"
                            : ", which is not supported");
    const auto pre = file_.find<std::string>(key("pre"));
    if (!pre)
      data_.warnings.push_back(
          message(file_.name(),
                  ": tokenizer.ggml.pre is missing, so that how to split text is a "
                  "guess: 'default' is taken, as llama.cpp does; results may be worse"
                  " than the model's own"));
    const auto split = find_split(pre.value_or("default"));
    std::string known;
    for (const NamedSplit& each : named_splits())
      known += (known.empty() ? "" : ", ") + std::string(each.name);
    expect(split.has_value(), "tokenizer.ggml.pre: expected one of ", known, ", found ",
           pre.value_or(""), ", which is not supported");
    data_.splits = split->splits;
    data_.ignore_merges = split->ignore_merges;
    add_begin_ = split->add_begin;
    expect(!flag("add_space_prefix").value_or(false),
           "tokenizer.ggml.add_space_prefix is not supported");
  }

  std::optional<bool> flag(const char* name) const { return file_.find<bool>(key(name)); }
  std::optional<Token> id(const char* name) const {
    const auto found = file_.find<Token>(key(name));
    expect(!found || (*found >= 0 && static_cast<std::size_t>(*found) < data_.tokens.size()),
           key(name), ": expected an id below ", data_.tokens.size(), ", found ",
           found.value_or(0));
    return found;
  }

  void read_types() {
    auto types = file_.find<std::vector<std::int64_t>>(key("token_type"));
    expect(!types || types->size() == data_.tokens.size(), "expected ", data_.tokens.size(),
           " token types, found ", types ? types->size() : 0);
    std::unordered_set<std::string> merged;
    for (const auto& [left, right] : data_.merges) merged.insert(left + right);
    for (std::size_t i = 0; i < data_.tokens.size(); ++i) {
      std::string& text = data_.tokens[i];
      const std::int64_t type = types ? (*types)[i] : 1;
      switch (static_cast<GgufToken>(type)) {
        case GgufToken::unknown:
        case GgufToken::control:
          add(i, true);
          break;
        case GgufToken::user_defined:
          add(i, is_end_text(text));
          break;
        case GgufToken::unused:
          text.clear();
          break;
        case GgufToken::normal:
          // No merge makes it: as a normal token it could not be met at all.
          if (is_end_text(text) || (looks_like_control(text) && !merged.contains(text))) {
            add(i, true);
            if (types)
              data_.warnings.push_back(message(file_.name(), ": the token '", text,
                                               "' has the type of a normal one and is taken as a "
                                               "control token, which it looks like"));
          }
          break;
        default:
          expect(false, key("token_type"), ": the type ", type, " of token ", i,
                 " is not supported");
      }
    }
  }
  void add(std::size_t i, bool special) {
    data_.added.push_back(
        {.id = static_cast<Token>(i), .text = data_.tokens[i], .special = special});
  }
  static bool looks_like_control(std::string_view text) {
    return text.size() > 4 && text.starts_with("<|") && text.ends_with("|>");
  }

  void read_around() {
    if (flag("add_bos_token").value_or(add_begin_)) {
      expect(data_.begin.has_value(),
             "tokenizer.ggml.bos_token_id: expected the id of the token "
             "that begins each text, found none");
      data_.before = {*data_.begin};
    }
    if (flag("add_eos_token").value_or(false)) {
      expect(data_.end.has_value(),
             "tokenizer.ggml.eos_token_id: expected the id of the token "
             "that ends each text, found none");
      data_.after = {*data_.end};
    }
  }

  void read_ends() {
    if (data_.end) add_end(data_, *data_.end);
    for (const char* name : {"eot_token_id", "eom_token_id"})
      if (const auto found = id(name)) add_end(data_, *found);
    for (std::size_t i = 0; i < data_.tokens.size(); ++i)
      if (is_end_text(data_.tokens[i])) add_end(data_, static_cast<Token>(i));
  }

  void read_templates() {
    constexpr std::string_view name = "tokenizer.chat_template";
    data_.chat_template = file_.find<std::string>(std::string(name)).value_or("");
    for (const auto& [each, bytes] : file_.raw_values())
      if (each.starts_with(std::string(name) + "."))
        data_.other_templates.emplace_back(each.substr(name.size() + 1),
                                           file_.get<std::string>(each));
  }

  const GgufFile& file_;
  TokenizerData data_;
  bool add_begin_ = false;
};

}  // namespace text_detail

/// The tokenizer of a GGUF file. Tokens that look like control tokens are treated as llama.cpp
/// treats them, whatever their type. Throws FormatError for one that is not byte-level BPE or whose
/// way to split is not known; what is worth knowing stands in the result's `warnings`.
inline TokenizerData tokenizer_data(const GgufFile& file) {
  return text_detail::GgufTokenizer(file).read();
}

/// Sets the keys tokenizer.* that llama.cpp and this library need. `vocabulary`: rows of the
/// embedding; those without a token are written as unused. Throws FormatError for what GGUF has no
/// words for.
inline void set_tokenizer_keys(GgufWriter& file, const TokenizerData& data, Index vocabulary) {
  const auto expect = [&](bool condition, const auto&... parts) {
    require<FormatError>(condition, data.name, ": GGUF ", parts...);
  };
  const NamedSplit* split = nullptr;
  for (const NamedSplit& each : named_splits())
    if (split == nullptr && each.splits == data.splits && each.ignore_merges == data.ignore_merges)
      split = &each;
  expect(split != nullptr, "has no name for this way to split text");
  expect(static_cast<Index>(data.tokens.size()) <= vocabulary,
         "needs a row of the embedding for each token: expected at most ", vocabulary,
         " tokens, found ", data.tokens.size());
  expect(data.before.empty() || (data.begin && data.before == std::vector{*data.begin}),
         "can put nothing but the token bos_token before a text");
  expect(data.after.empty() || (data.end && data.after == std::vector{*data.end}),
         "can put nothing but the token eos_token after a text");
  std::vector<std::string> tokens = data.tokens, merges;
  tokens.resize(static_cast<std::size_t>(vocabulary));
  using text_detail::GgufToken;
  std::vector<std::int32_t> types(tokens.size(), static_cast<std::int32_t>(GgufToken::normal));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (!tokens[i].empty()) continue;
    tokens[i] = text_detail::unused_name(i);
    types[i] = static_cast<std::int32_t>(GgufToken::unused);
  }
  for (const AddedToken& token : data.added) {
    expect(!token.lstrip && !token.rstrip && !token.single_word,
           "can't say lstrip, rstrip or single_word of the added token '", token.text, "'");
    types[static_cast<std::size_t>(token.id)] =
        static_cast<std::int32_t>(token.special ? GgufToken::control : GgufToken::user_defined);
  }
  merges.reserve(data.merges.size());
  for (const auto& [left, right] : data.merges) merges.push_back(message(left, " ", right));
  file.set("tokenizer.ggml.model", "gpt2");
  file.set("tokenizer.ggml.pre", std::string(split->name));
  file.set("tokenizer.ggml.tokens", tokens);
  file.set("tokenizer.ggml.token_type", types);
  file.set("tokenizer.ggml.merges", merges);
  file.set("tokenizer.ggml.add_bos_token", !data.before.empty());
  if (!data.after.empty()) file.set("tokenizer.ggml.add_eos_token", true);
  file.set("tokenizer.ggml.add_space_prefix", false);
  const auto set_id = [&](const char* key, const std::optional<Token>& token) {
    if (token) file.set(std::string("tokenizer.ggml.") + key, static_cast<std::uint32_t>(*token));
  };
  set_id("bos_token_id", data.begin);
  set_id("eos_token_id", data.end);
  set_id("unknown_token_id", data.unknown);
  set_id("padding_token_id", data.padding);
  std::vector<Token> others;
  for (const Token id : data.ends)
    if (id != data.end) others.push_back(id);
  std::erase_if(others, [&](Token id) {  // what readers find by its text needs no key
    return static_cast<std::size_t>(id) < data.tokens.size() &&
           text_detail::is_end_text(data.tokens[static_cast<std::size_t>(id)]);
  });
  expect(others.size() <= 2, "has no words for ", data.ends.size(), " ids that end an answer");
  if (!others.empty()) set_id("eot_token_id", others[0]);
  if (others.size() > 1) set_id("eom_token_id", others[1]);
  if (!data.chat_template.empty()) file.set("tokenizer.chat_template", data.chat_template);
  for (const auto& [name, text] : data.other_templates)
    file.set("tokenizer.chat_template." + name, text);
}

}  // namespace qlora::inline QLORA_ABI
