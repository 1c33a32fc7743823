/// The source of a template as tokens, with Jinja's white space control under trim_blocks and
/// lstrip_blocks: the first newline after a block goes, white space before a block goes back to the
/// line's beginning, `-` strips all of it and `+` keeps it.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/value.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// A piece of a template's source, and the line it stands on.
struct Token {
  enum class Type : std::uint8_t {
    data,
    print_begin,
    print_end,
    block_begin,
    block_end,
    name,
    text,
    integer,
    real,
    sign,
    end
  };
  Type type = Type::end;
  int line = 0;
  std::string text;  ///< data, a name, a text without its quotes, or a sign
  std::int64_t whole = 0;
  double real = 0;
};

/// Cuts one template's source into tokens. One thread uses an object at a time.
class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normal_newlines(repair_utf8(source))) {
    if (!source_.empty() && source_.back() == '\n') source_.pop_back();
  }

  /// Throws Failure with the line.
  std::vector<Token> tokens() {
    while (at_ < source_.size()) outside();
    push(Token::Type::end);
    return std::move(tokens_);
  }

 private:
  using Type = Token::Type;

  static std::string normal_newlines(const std::string& text) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
      result += text[i] == '\r' ? '\n' : text[i];
    }
    return result;
  }

  [[noreturn]] void fail(const std::string& what) { throw Failure(what, line()); }

  /// The line of the current place.
  int line() {
    for (; counted_ < at_; ++counted_)
      if (source_[counted_] == '\n') ++line_;
    return line_;
  }

  Token& push(Type type, std::string text = "") {
    tokens_.push_back({type, line(), std::move(text), 0, 0});
    return tokens_.back();
  }

  bool here(std::string_view text) const { return source_.compare(at_, text.size(), text) == 0; }
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }

  std::size_t space_end(std::size_t at) const {
    while (at < source_.size()) {
      const Character c = character_at(source_, at);
      if (!is_space(c.point)) break;
      at += c.length;
    }
    return at;
  }
  void skip_space() { at_ = space_end(at_); }

  /// Data up to the next tag, and that tag.
  void outside() {
    std::size_t tag = at_;
    while ((tag = source_.find('{', tag)) != std::string::npos) {
      const char next = tag + 1 < source_.size() ? source_[tag + 1] : '\0';
      if (next == '%' || next == '{' || next == '#') break;
      ++tag;
    }
    if (tag == std::string::npos) {
      push(Type::data, source_.substr(at_));
      at_ = source_.size();
      return;
    }
    const char type = source_[tag + 1];
    data_before(tag, type == '{');
    at_ = tag + 2;
    if (peek() == '-' || peek() == '+') ++at_;
    if (type == '#') {
      comment();
    } else if (type == '%') {
      if (!raw()) inside(Type::block_begin, Type::block_end, "%}");
    } else {
      inside(Type::print_begin, Type::print_end, "}}");
    }
    line_starts_ = source_[at_ - 1] == '\n';
  }

  /// Data [at_, tag), stripped as the tag that follows wants it.
  void data_before(std::size_t tag, bool prints) {
    const std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    std::size_t length = text.size();
    if (sign == '-') {
      length = stripped(text, nullptr, false, true).second;
    } else if (sign != '+' && !prints) {
      const std::size_t newline = text.rfind('\n');
      const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
      if ((begin > 0 || line_starts_) &&
          stripped(text.substr(begin), nullptr, true, false).first == text.size() - begin)
        length = begin;
    }
    if (length > 0) push(Type::data, std::string(text.substr(0, length)));
  }

  /// What may follow the end of a block or comment.
  void after(char sign) {
    if (sign == '-') {
      skip_space();
    } else if (sign != '+' && peek() == '\n') {
      ++at_;
    }
  }

  void comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail("missing end of comment");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    at_ = end + 2;
    after(sign);
  }

  /// `{% raw %}` ... `{% endraw %}` when that is what stands here.
  bool raw() {
    std::size_t at = space_end(at_);
    if (source_.compare(at, 3, "raw") != 0) return false;
    at = space_end(at + 3);
    const bool strips = source_.compare(at, 3, "-%}") == 0;
    if (!strips && source_.compare(at, 2, "%}") != 0) return false;
    const std::size_t begin = strips ? space_end(at + 3) : at + 2;
    line_starts_ = source_[begin - 1] == '\n';
    for (std::size_t tag = source_.find("{%", begin); tag != std::string::npos;
         tag = source_.find("{%", tag + 1)) {
      std::size_t end = tag + 2;
      if (end < source_.size() && (source_[end] == '-' || source_[end] == '+')) ++end;
      end = space_end(end);
      if (source_.compare(end, 6, "endraw") != 0) continue;
      end = space_end(end + 6);
      const char sign = end < source_.size() ? source_[end] : '\0';
      if (sign == '-' || sign == '+') ++end;
      if (source_.compare(end, 2, "%}") != 0) continue;
      at_ = begin;
      data_before(tag, false);
      at_ = end + 2;
      after(sign);
      return true;
    }
    fail("missing end of raw");
  }

  /// The tokens of a tag, up to its end.
  void inside(Type begin, Type end, std::string_view closing) {
    push(begin);
    std::string open;
    while (true) {
      if (at_ >= source_.size()) fail("unexpected end of template");
      if (open.empty()) {
        const char sign = peek();
        const bool block = end == Type::block_end;
        const std::size_t skip = sign == '-' || (sign == '+' && block) ? 1 : 0;
        if (source_.compare(at_ + skip, 2, closing) == 0) {
          push(end);
          at_ += skip + 2;
          if (block) {
            after(sign);
          } else if (skip == 1) {
            skip_space();
          }
          return;
        }
      }
      if (const std::size_t next = space_end(at_); next > at_) {
        at_ = next;
      } else if (is_digit(peek())) {
        number();
      } else if (is_name(peek())) {
        const std::size_t first = at_;
        while (is_name(peek()) || is_digit(peek())) ++at_;
        const std::size_t last = std::exchange(at_, first);
        push(Type::name, source_.substr(first, last - first));
        at_ = last;
      } else if (peek() == '\'' || peek() == '"') {
        text();
      } else {
        sign(open);
      }
    }
  }

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
  }

  void sign(std::string& open) {
    static constexpr std::array<std::string_view, 6> pairs = {"//", "**", "==", "!=", ">=", "<="};
    for (const std::string_view pair : pairs)
      if (here(pair)) {
        push(Type::sign, std::string(pair));
        at_ += 2;
        return;
      }
    const char c = peek();
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos)
      fail(message("unexpected character '",
                   std::string_view(source_).substr(at_, character_at(source_, at_).length), "'"));
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c) fail(message("unexpected '", c, "'"));
      open.pop_back();
    }
    push(Type::sign, std::string(1, c));
    ++at_;
  }

  /// Digits with single underscores between them, from `at`.
  template <class IsDigit>
  std::size_t digits_end(std::size_t at, IsDigit is) const {
    const auto good = [&](std::size_t i) { return i < source_.size() && is(source_[i]); };
    if (!good(at)) return at;
    while (true) {
      if (good(at)) {
        ++at;
      } else if (at < source_.size() && source_[at] == '_' && good(at + 1)) {
        at += 2;
      } else {
        return at;
      }
    }
  }

  void number() {
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    std::size_t end = digits_end(at_, is_digit);
    bool real = false;
    if (!after_dot) {
      if (end < source_.size() && source_[end] == '.') {
        const std::size_t fraction = digits_end(end + 1, is_digit);
        if (fraction > end + 1) {
          end = fraction;
          real = true;
        }
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        std::size_t power = end + 1;
        if (power < source_.size() && (source_[power] == '+' || source_[power] == '-')) ++power;
        const std::size_t last = digits_end(power, is_digit);
        if (last > power) {
          end = last;
          real = true;
        }
      }
    }
    int base = 10;
    std::size_t begin = at_;
    if (!real && peek() == '0') {
      const char letter = static_cast<char>(peek(1) | 0x20);
      base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
      const auto is = [base](char c) {
        const int value = is_digit(c)            ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : 99;
        return value < base;
      };
      if (base == 10) {
        end = digits_end(at_, [](char c) { return c == '0'; });
      } else {
        begin = at_ + 2;
        end = digits_end(begin, is);
        if (end == begin) fail("broken number");
      }
    }
    std::string text;
    for (std::size_t i = begin; i < end; ++i)
      if (source_[i] != '_') text += source_[i];
    if (real) {
      push(Type::real, text).real = std::strtod(text.c_str(), nullptr);
    } else {
      errno = 0;
      const long long value = std::strtoll(text.c_str(), nullptr, base);
      if (errno != 0) fail(message("the whole number ", text, " is too large"));
      push(Type::integer, text).whole = value;
    }
    at_ = end;
  }

  /// A text in quotes, with Python's escapes.
  void text() {
    const char quote = peek();
    std::string result;
    std::size_t at = at_ + 1;
    while (true) {
      if (at >= source_.size()) fail("missing end of text");
      const char c = source_[at++];
      if (c == quote) break;
      if (c != '\\') {
        result += c;
        continue;
      }
      if (at >= source_.size()) fail("missing end of text");
      escape(at, result);
    }
    push(Type::text, result);
    at_ = at;
  }

  void escape(std::size_t& at, std::string& result) {
    static constexpr std::string_view letters = "\\'\"abfnrtv";
    static constexpr std::string_view meanings = "\\'\"\a\b\f\n\r\t\v";
    const char c = source_[at++];
    if (c == '\n') return;
    if (const auto place = letters.find(c); place != std::string_view::npos) {
      result += meanings[place];
    } else if (c >= '0' && c <= '7') {
      std::uint32_t value = static_cast<std::uint32_t>(c - '0');
      for (int i = 0; i < 2 && at < source_.size() && source_[at] >= '0' && source_[at] <= '7'; ++i)
        value = value * 8 + static_cast<std::uint32_t>(source_[at++] - '0');
      result += utf8_of(value);
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const std::size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      const std::string digits = source_.substr(at, count);
      if (digits.size() != count ||
          digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        fail(message("broken escape \\", c, digits));
      const unsigned long value = std::strtoul(digits.c_str(), nullptr, 16);
      if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        fail(message("\\", c, digits, " is no character"));
      result += utf8_of(static_cast<std::uint32_t>(value));
      at += count;
    } else if (c == 'N') {
      fail("\\N in a text is not supported");
    } else {
      result += '\\';
      result += c;
    }
  }

  std::string source_;
  std::size_t at_ = 0, counted_ = 0;
  int line_ = 1;
  bool line_starts_ = true;
  std::vector<Token> tokens_;
};

}  // namespace qlora::inline QLORA_ABI::jinja
