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

#include "qlora/core/error.hpp"

namespace qlora {

class Regex {
 public:
  /// Throws FormatError for a pattern that does not compile.
  explicit Regex(std::string_view pattern) {
    int code = 0;
    PCRE2_SIZE place = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_UTF | PCRE2_UCP, &code, &place, nullptr));
    if (!code_) {
      std::array<PCRE2_UCHAR, 256> text{};
      pcre2_get_error_message(code, text.data(), text.size());
      throw FormatError(message("pattern '", pattern, "', at ", place, ": ",
                                reinterpret_cast<const char*>(text.data())));
    }
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
    match_.reset(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  }

  /// The groups of the first match at or after `from`, group 0 being the whole; nothing when there
  /// is none. The text must be valid UTF-8.
  std::optional<std::vector<std::string_view>> find(std::string_view text,
                                                    std::size_t from = 0) const {
    const int count = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                  text.size(), from, PCRE2_NO_UTF_CHECK, match_.get(), nullptr);
    if (count == PCRE2_ERROR_NOMATCH) return std::nullopt;
    require<FormatError>(count > 0, "PCRE2 gave error ", count);
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match_.get());
    std::vector<std::string_view> groups;
    for (int i = 0; i < count; ++i) {
      const bool set = bounds[2 * i] != PCRE2_UNSET;
      groups.push_back(set ? text.substr(bounds[2 * i], bounds[2 * i + 1] - bounds[2 * i])
                           : std::string_view{});
    }
    return groups;
  }

  /// Calls `piece(part, matched)` for the text's matches and what lies between them, in order;
  /// empty parts are left out.
  template <class Piece>
  void split(std::string_view text, Piece&& piece) const {
    std::size_t done = 0, from = 0;
    while (from < text.size()) {
      const auto groups = find(text, from);
      if (!groups) break;
      const auto whole = (*groups)[0];
      const auto begin = static_cast<std::size_t>(whole.data() - text.data());
      if (begin > done && !whole.empty()) piece(text.substr(done, begin - done), false);
      if (whole.empty()) {
        from = begin + 1;
        continue;
      }
      piece(whole, true);
      done = from = begin + whole.size();
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
  std::unique_ptr<pcre2_code, FreeCode> code_;
  std::unique_ptr<pcre2_match_data, FreeMatch> match_;
};

}  // namespace qlora
