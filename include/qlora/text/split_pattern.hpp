/// The patterns by which tokenizers split a text into words, as tokenizer.json and GGUF have them.
///
///     qlora::pcre_split(R"(\s+(?!\S))");     // Oniguruma's pattern in PCRE2's words
///     qlora::find_split("llama-bpe")->splits;
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// GPT-2's split: contractions, words, numbers and signs with the space before them, and white
/// space.
inline constexpr const char* gpt2_split =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
/// Each digit by itself.
inline constexpr const char* digit_split = R"(\p{N})";
/// Llama 3's split: contractions in any case, words with one sign before them, at most three
/// digits, and line ends with what stands before them.
inline constexpr const char* llama3_split =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Qwen2's split: Llama 3's with single digits.
inline constexpr const char* qwen2_split =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
/// Mistral's split since Nemo (tekken): words begin anew where small letters turn to capitals.
inline constexpr const char* tekken_split =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
/// GPT-4o's split: the same with contractions at the end of a word and at most three digits.
inline constexpr const char* gpt4o_split =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// A way to split that GGUF has a name for (tokenizer.ggml.pre), and what goes with the name.
struct NamedSplit {
  std::string_view name;
  std::vector<std::string> splits;  ///< patterns, one after the other
  bool ignore_merges = false;       ///< a word that is a token is taken whole
  bool add_begin = false;           ///< where the file does not say so itself
};

/// The names that are understood, the one that is written first; the meaning is llama.cpp's.
inline const std::vector<NamedSplit>& named_splits() {
  static const std::vector<NamedSplit> all = [] {
    const std::vector<std::string> gpt2{gpt2_split}, digits{digit_split, gpt2_split},
        llama3{llama3_split},
        standard{R"([\p{P}\$\+<=>\^~\|]+)", gpt2_split, R"(\p{N}+)", "[0-9][0-9][0-9]"};
    std::vector<NamedSplit> named{{"gpt-2", gpt2},
                                  {"smollm", digits},
                                  {"default", standard},
                                  {"llama-bpe", llama3, true, true},
                                  {"llama3", llama3, true, true},
                                  {"llama-v3", llama3, true, true}};
    for (const auto name : {"mpt", "olmo", "jais", "phi-2", "gigachat", "a.x-4.0", "mellum"})
      named.push_back({name, gpt2});
    for (const auto name : {"starcoder", "refact", "codeshell", "exaone"})
      named.push_back({name, digits});
    for (const auto name : {"falcon3", "pixtral"}) named.push_back({name, llama3, true, true});
    for (const auto name : {"dbrx", "smaug-bpe"}) named.push_back({name, llama3});
    for (const auto name : {"qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"})
      named.push_back({name, {qwen2_split}});
    named.push_back({"tekken", {tekken_split}, true, true});
    for (const auto name : {"gpt-4o", "llama4"}) named.push_back({name, {gpt4o_split}});
    named.push_back({"falcon", {R"([\p{P}\$\+<=>\^~\|`]+)", gpt2_split, "[0-9][0-9][0-9]"}});
    const std::string chinese = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
    named.push_back(
        {"deepseek-v3",
         {R"(\p{N}{1,3})", chinese,
          R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}});
    named.push_back({"deepseek-coder",
                     {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)",
                      R"([\x{4e00}-\x{9fa5}\x{0800}-\x{4e00}\x{ac00}-\x{d7ff}]+)", R"(\p{N})"}});
    return named;
  }();
  return all;
}

/// Finds a split by its name; nullopt for an unknown name.
inline std::optional<NamedSplit> find_split(std::string_view name) {
  for (const NamedSplit& each : named_splits())
    if (each.name == name) return each;
  return std::nullopt;
}

namespace text_detail {

/// Unicode's White_Space, as ranges of a class; PCRE2's own \s has U+180E too.
inline constexpr const char* white_space =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
inline constexpr const char* not_white_space =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{d7ff}\x{e000}-\x{10ffff})";

/// Rewrites a pattern character by character; see pcre_split.
class SplitPattern {
 public:
  explicit SplitPattern(std::string_view pattern) : pattern_(pattern) {}

  std::string rewrite() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape();
      } else if (in_class_) {
        class_character(c);
      } else {
        character(c);
      }
    }
    return std::move(result_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw FormatError(
        message("a pattern to split text has '", what, "' at ", at_, ", which is not supported"));
  }
  bool follows(std::string_view text) const { return pattern_.substr(at_, text.size()) == text; }
  void take(std::size_t count) {
    result_ += pattern_.substr(at_, count);
    at_ += count;
  }

  void escape() {
    if (at_ + 1 == pattern_.size()) return take(1);  // PCRE2 names the place
    const char c = pattern_[at_ + 1];
    if (c == 's' || c == 'S') {
      const std::string set = c == 's' ? white_space : not_white_space;
      result_ += in_class_ ? set : message("[", set, "]");
      at_ += 2;
    } else if (c == 'u') {
      const std::string_view digits = pattern_.substr(at_ + 2, 4);
      if (digits.size() < 4) refuse("\\u");
      result_ += message("\\x{", digits, "}");
      at_ += 6;
    } else if (std::string_view("dDwWpPxnrtfvae0bBAz").find(c) != std::string_view::npos ||
               !is_word(c)) {
      take(2);
      if ((c == 'p' || c == 'P' || c == 'x') && follows("{"))
        take(std::min(pattern_.find('}', at_), pattern_.size() - 1) + 1 - at_);
    } else {
      refuse(pattern_.substr(at_, 2));
    }
  }
  static bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  }

  void class_character(char c) {
    if (c == '[') refuse("[ within [ ]");
    if (follows("&&")) refuse("&&");
    if (c == ']' && at_ != class_begin_) in_class_ = false;
    take(1);
  }

  void character(char c) {
    if (c == '[') {
      in_class_ = true;
      take(follows("[^") ? 2 : 1);
      class_begin_ = at_;
      return;
    }
    if (c == '{' && at_ + 1 < pattern_.size() && pattern_[at_ + 1] == ',') refuse("{,");
    if (follows("}+")) refuse("}+");
    if (c == '(' && follows("(?")) group();
    take(1);
  }

  /// Oniguruma's m is PCRE2's s, and its x is another; only i means the same.
  void group() const {
    constexpr std::array known{"(?:", "(?=",  "(?!",  "(?<=",  "(?<!",
                               "(?>", "(?i:", "(?i)", "(?-i)", "(?-i:"};
    for (const std::string_view start : known)
      if (follows(start)) return;
    refuse(pattern_.substr(at_, 4));
  }

  std::string_view pattern_;
  std::string result_;
  std::size_t at_ = 0, class_begin_ = 0;
  bool in_class_ = false;
};

}  // namespace text_detail

/// A pattern of tokenizer.json, which Hugging Face's tokenizers read as Oniguruma does, as one that
/// means the same to Regex. White space is Unicode's White_Space. Throws FormatError, with the
/// place, for what means something else there and is not translated.
inline std::string pcre_split(std::string_view pattern) {
  return text_detail::SplitPattern(pattern).rewrite();
}

}  // namespace qlora::inline QLORA_ABI
