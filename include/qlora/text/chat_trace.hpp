/// Where in a rendered chat the messages stand: from the first to the last character that came from
/// a message, and the marks that the template writes around it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/token.hpp"
#include "qlora/text/chat.hpp"

namespace qlora::inline QLORA_ABI {

/// Bytes [begin, end) of a rendered chat.
struct TextRange {
  std::size_t begin = 0, end = 0;
};

/// A special token in a text.
struct SpecialMatch {
  std::size_t begin = 0, end = 0;
  Token id = 0;
};

/// Finds special tokens in text, the longest first. Several threads may call its const members at
/// once.
class SpecialTokens {
 public:
  /// Adds a token; an empty text, or one that is there already, changes nothing.
  void add(const std::string& text, Token id) {
    if (text.empty() || !ids_.emplace(text, id).second) return;
    auto& sizes = sizes_by_first_[text[0]];
    const auto place = std::lower_bound(sizes.begin(), sizes.end(), text.size(), std::greater<>());
    if (place == sizes.end() || *place != text.size()) sizes.insert(place, text.size());
  }

  /// The first one that begins at or after `from` and ends at `to` at the latest.
  std::optional<SpecialMatch> find(std::string_view text, std::size_t from, std::size_t to) const {
    for (std::size_t at = from; at < to; ++at) {
      const auto sizes = sizes_by_first_.find(text[at]);
      if (sizes == sizes_by_first_.end()) continue;
      for (const std::size_t size : sizes->second) {
        if (size > to - at) continue;
        const auto token = ids_.find(std::string(text.substr(at, size)));
        if (token != ids_.end()) return SpecialMatch{at, at + size, token->second};
      }
    }
    return std::nullopt;
  }

 private:
  std::unordered_map<std::string, Token> ids_;
  std::unordered_map<char, std::vector<std::size_t>> sizes_by_first_;  ///< the largest first
};

/// What the template writes around the messages of one role, learned from a probe conversation.
struct RoleMarks {
  std::string before;       ///< from the message before to the content
  std::vector<Token> ends;  ///< special tokens that follow the content
};

/// Which part of one rendered text belongs to which message. One thread uses an object at a time.
class ChatTrace {
 public:
  /// `text` must live as long as this.
  ChatTrace(const jinja::Text& text, std::size_t messages, const SpecialTokens& special)
      : text_(text), places_(messages) {
    std::vector<TextRange> plain;
    for (const jinja::Span& span : text.spans) {
      if (span.origin == jinja::generation_origin) continue;
      if (span.begin < span.end) plain.push_back({span.begin, span.end});
      writes_tools_ = writes_tools_ || span.origin == from_tools;
      if (span.origin < 0) continue;
      const auto part = static_cast<ChatPart>(span.origin % chat_parts);
      if (part == ChatPart::other) continue;
      Place& place = places_[static_cast<std::size_t>(span.origin / chat_parts)];
      place.range.begin = place.found ? std::min(place.range.begin, span.begin) : span.begin;
      place.range.end = place.found ? std::max(place.range.end, span.end) : span.end;
      place.found = true;
      place.calls = place.calls || part == ChatPart::call;
      place.marked = place.marked || part != ChatPart::content;
      place.pieces += span.begin < span.end ? 1 : 0;
    }
    std::sort(plain.begin(), plain.end(),
              [](const TextRange& a, const TextRange& b) { return a.begin < b.begin; });
    plain.push_back({text.size(), text.size()});
    std::size_t at = 0;
    for (const TextRange& part : plain) {
      while (const auto match =
                 at < part.begin ? special.find(text.bytes, at, part.begin) : std::nullopt) {
        special_.push_back(*match);
        at = match->end;
      }
      at = std::max(at, part.end);
    }
  }

  /// Special tokens of the template's own text, in order.
  const std::vector<SpecialMatch>& special_tokens() const { return special_; }

  /// Where the message's own text stands; nothing when the template does not write it.
  std::optional<TextRange> content(std::size_t message) const {
    if (!places_[message].found) return std::nullopt;
    return places_[message].range;
  }

  /// Whether the template writes a message's calls of tools.
  bool writes_calls(std::size_t message) const { return places_[message].calls; }
  /// Whether the template writes the list of tools.
  bool writes_tools() const { return writes_tools_; }

  /// What stands between `at` and the messages before, and the messages behind; `message` itself
  /// does not count.
  TextRange gap(std::size_t at, std::size_t message) const {
    TextRange gap{0, text_.size()};
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (i == message || !places_[i].found) continue;
      const TextRange& other = places_[i].range;
      if (other.end <= at && (other.begin < at || i < message)) {
        gap.begin = std::max(gap.begin, other.end);
      } else if (other.begin >= at) {
        gap.end = std::min(gap.end, other.begin);
      }
    }
    return gap;
  }

  /// The first special token in a range, of `allowed` if that is given.
  std::optional<SpecialMatch> first_special(TextRange range,
                                            const std::vector<Token>* allowed) const {
    auto match =
        std::lower_bound(special_.begin(), special_.end(), range.begin,
                         [](const SpecialMatch& m, std::size_t at) { return m.begin < at; });
    for (; match != special_.end() && match->end <= range.end; ++match)
      if (allowed == nullptr ||
          std::find(allowed->begin(), allowed->end(), match->id) != allowed->end())
        return *match;
    return std::nullopt;
  }

  /// What of a message counts: its content, and the end of the turn. With reasoning and calls of
  /// tools, the marks that the template writes for them count from the end of the generation
  /// prompt `header` on (also for content that the template takes apart), of which at least
  /// `header_mark` bytes must be there. Throws FormatError for a message whose place can't be told.
  TextRange turn(std::size_t message, bool is_empty, const std::string& header,
                 std::size_t header_mark, const RoleMarks& marks) const {
    TextRange range;
    if (const auto own = content(message)) {
      range = *own;
      for (std::size_t i = 0; i < places_.size(); ++i)
        require<FormatError>(
            i == message || !places_[i].found || places_[i].range.end <= range.begin ||
                places_[i].range.begin >= range.end,
            "message ", message + 1, ": the template writes it in parts, with others between");
      if (places_[message].marked || places_[message].pieces > 1) {
        const auto begin = answer_begin(message, range.begin, header, header_mark, marks);
        require<FormatError>(begin || !places_[message].marked, "message ", message + 1,
                             ": where the answer begins in the template's text can't be told");
        range.begin = begin.value_or(range.begin);
      }
    } else {
      require<FormatError>(is_empty && !header.empty(), "message ", message + 1,
                           ": the template does not write what it says as it is");
      range.begin = range.end = empty_place(message, header);
    }
    const TextRange after{range.end, gap(range.end, message).end};
    if (const auto end = first_special(after, &marks.ends)) {
      range.end = end->end;
    } else {
      const auto rest = std::string_view(text_.bytes).substr(after.begin, after.end - after.begin);
      range.end += jinja::stripped(rest, nullptr, true, false).first;
    }
    return range;
  }

 private:
  struct Place {
    TextRange range;
    bool found = false, calls = false;
    bool marked = false;  ///< more than content
    int pieces = 0;       ///< with text of the template between them
  };

  /// Behind the last `part` in a range.
  std::optional<std::size_t> behind(const TextRange& range, std::string_view part) const {
    if (part.empty() || part.size() > range.end - range.begin) return std::nullopt;
    const std::size_t at = text_.bytes.rfind(part, range.end - part.size());
    if (at == std::string::npos || at < range.begin) return std::nullopt;
    return at + part.size();
  }

  /// Behind the generation prompt, or behind what stands before every answer.
  std::optional<std::size_t> answer_begin(std::size_t message, std::size_t first,
                                          const std::string& header, std::size_t header_mark,
                                          const RoleMarks& marks) const {
    const TextRange before{gap(first, message).begin, first};
    // A generation prompt may end with marks that this answer does not begin with.
    for (std::size_t size = header.size(); size >= std::max<std::size_t>(header_mark, 1); --size)
      if (const auto at = behind(before, std::string_view(header).substr(0, size))) return at;
    std::size_t same = 0;
    while (header.empty() && same < marks.before.size() && before.begin + same < before.end &&
           marks.before[same] == text_.bytes[before.begin + same])
      ++same;
    if (same == 0) return std::nullopt;
    return before.begin + same;
  }

  /// Behind the header of an answer of which the template writes nothing.
  std::size_t empty_place(std::size_t message, const std::string& header) const {
    TextRange between{0, text_.size()};
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (!places_[i].found) continue;
      if (i < message) between.begin = std::max(between.begin, places_[i].range.end);
      if (i > message) between.end = std::min(between.end, places_[i].range.begin);
    }
    const auto at = between.begin <= between.end ? behind(between, header) : std::nullopt;
    require<FormatError>(at.has_value(), "message ", message + 1,
                         ": it is empty, and the template writes nothing for it");
    return *at;
  }

  const jinja::Text& text_;
  std::vector<SpecialMatch> special_;
  std::vector<Place> places_;
  bool writes_tools_ = false;
};

}  // namespace qlora::inline QLORA_ABI
