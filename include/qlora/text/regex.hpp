/// A compiled PCRE2 pattern over UTF-8 with Unicode properties.
///
///     qlora::Regex digits(R"(\p{N})");
///     digits.split("a12", [&](std::string_view piece, bool matched) { ... });   // "a", "1", "2"
#pragma once

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// A compiled pattern. Several threads may call its const members at once; whatever a match writes
/// belongs to the call.
class Regex {
 public:
  /// `^` and `$` match at the ends of lines too. Throws FormatError for a pattern that does not
  /// compile; the message shows the pattern around the place, not the whole of a long one.
  explicit Regex(std::string_view pattern) {
    int code = 0;
    PCRE2_SIZE place = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &place, nullptr));
    if (!code_)
      throw FormatError(
          message("pattern '", around(pattern, place), "', at ", place, ": ", reason(code)));
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
  }

  /// The groups of the first match at or after `from`, group 0 being the whole; nothing when there
  /// is none. The text must be valid UTF-8 and `from` the start of a character. Throws FormatError
  /// when PCRE2 gives up, for example because a pattern backtracks too much.
  std::optional<std::vector<std::string_view>> find(std::string_view text,
                                                    std::size_t from = 0) const {
    const MatchData data = make_match();
    const int count = match(text, from, data.get());
    if (count == 0) return std::nullopt;
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    std::vector<std::string_view> groups;
    for (int i = 0; i < count; ++i) {
      const bool set = bounds[2 * i] != PCRE2_UNSET;
      groups.push_back(set ? text.substr(bounds[2 * i], bounds[2 * i + 1] - bounds[2 * i])
                           : std::string_view{});
    }
    return groups;
  }

  /// Calls `piece(part, matched)` for the text's matches and what lies between them, in order;
  /// empty parts are left out. An empty match divides the text where it stands; then the search
  /// goes on behind the next character. The text must be valid UTF-8. Throws FormatError as `find`
  /// does.
  template <class Piece>
  void split(std::string_view text, Piece&& piece) const {
    const MatchData data = make_match();
    std::size_t done = 0, from = 0;
    std::optional<std::size_t> last;  // where the last match ended
    while (from < text.size() && match(text, from, data.get()) > 0) {
      const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
      const std::size_t begin = bounds[0], end = bounds[1];
      if (begin == end && last == end) {
        from += character_length(text[from]);
        continue;
      }
      if (begin > done) piece(text.substr(done, begin - done), false);
      if (end > begin) piece(text.substr(begin, end - begin), true);
      done = from = end;
      last = end;
    }
    if (done < text.size()) piece(text.substr(done), false);
  }

 private:
  struct FreeCode {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  };
  struct FreeMatch {
    void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
  };
  using MatchData = std::unique_ptr<pcre2_match_data, FreeMatch>;

  MatchData make_match() const {
    MatchData data(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
    require<FormatError>(data != nullptr, "PCRE2: no memory for a match");
    return data;
  }

  /// How many groups were set; 0 without a match.
  int match(std::string_view text, std::size_t from, pcre2_match_data* data) const {
    const int count = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                  text.size(), from, PCRE2_NO_UTF_CHECK, data, nullptr);
    if (count == PCRE2_ERROR_NOMATCH) return 0;
    require<FormatError>(count > 0, "a pattern can't be matched: ", reason(count));
    return count;
  }

  static std::string reason(int code) {
    std::array<PCRE2_UCHAR, 256> text{};
    pcre2_get_error_message(code, text.data(), text.size());
    return reinterpret_cast<const char*>(text.data());
  }

  /// At most 40 bytes before and after a place, cut at characters.
  static std::string around(std::string_view pattern, std::size_t place) {
    constexpr std::size_t width = 40;
    const auto inside = [&](std::size_t i) {
      return i < pattern.size() && (static_cast<unsigned char>(pattern[i]) & 0xc0) == 0x80;
    };
    std::size_t begin = place > width ? place - width : 0;
    std::size_t end = place + width < pattern.size() ? place + width : pattern.size();
    while (inside(begin)) ++begin;
    while (inside(end)) ++end;
    return (begin > 0 ? "..." : "") + std::string(pattern.substr(begin, end - begin)) +
           (end < pattern.size() ? "..." : "");
  }

  static std::size_t character_length(char first) {
    const auto byte = static_cast<unsigned char>(first);
    return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
  }

  std::unique_ptr<pcre2_code, FreeCode> code_;
};

}  // namespace qlora::inline QLORA_ABI
