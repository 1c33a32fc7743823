#include "qlora/text/chat_trace.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::ChatPart, qlora::ChatTrace, qlora::TextRange, qlora::Token;

namespace {

constexpr Token user = 1, assistant = 2, end_of_turn = 3;

qlora::SpecialTokens special() {
  qlora::SpecialTokens tokens;
  tokens.add("<u>", user);
  tokens.add("<a>", assistant);
  tokens.add("<e>", end_of_turn);
  return tokens;
}

int content(std::size_t message) { return qlora::chat_origin(message, ChatPart::content); }
int thought(std::size_t message) { return qlora::chat_origin(message, ChatPart::thought); }

// Pieces of a rendered text, each with where it came from; without that it is the template's own.
using Pieces = std::vector<std::pair<std::string, std::optional<int>>>;

struct Traced {
  qlora::jinja::Text text;
  ChatTrace trace;

  Traced(const Pieces& pieces, std::size_t messages)
      : text(joined(pieces)), trace(text, messages, special()) {}
  static qlora::jinja::Text joined(const Pieces& pieces) {
    qlora::jinja::Text all;
    for (const auto& [bytes, origin] : pieces)
      all += origin ? qlora::jinja::Text::from(bytes, *origin) : qlora::jinja::Text(bytes);
    return all;
  }

  std::string at(TextRange range) const {
    return text.bytes.substr(range.begin, range.end - range.begin);
  }
  // What counts of a message that is written behind `header`, or why that can't be told.
  std::string turn(std::size_t message, const std::string& header = "", std::size_t mark = 0,
                   bool is_empty = false) const {
    try {
      return at(
          trace.turn(message, is_empty, header, mark, {.before = "<a>", .ends = {end_of_turn}}));
    } catch (const qlora::FormatError& failure) {
      return failure.what();
    }
  }
};

// A question and an answer.
const Pieces plain{
    {"<u>", {}}, {"Hi<e>", content(0)}, {"<e>\n<a>", {}}, {"Yo", content(1)}, {"<e> \n", {}}};

}  // namespace

TEST_CASE("of special tokens at one place the longest within the bounds is found") {
  qlora::SpecialTokens tokens;
  tokens.add("<e>", 1);
  tokens.add("<e>b", 2);
  tokens.add("<e>", 9);  // is there already
  tokens.add("", 7);
  const auto longest = tokens.find("a<e>b", 0, 5);
  REQUIRE((longest && longest->begin == 1 && longest->end == 5 && longest->id == 2));
  const auto shorter = tokens.find("a<e>b", 0, 4);
  REQUIRE((shorter && shorter->begin == 1 && shorter->end == 4 && shorter->id == 1));
  REQUIRE(!tokens.find("a<e>b", 2, 5));
  REQUIRE(!tokens.find("a<e>b", 0, 3));
  REQUIRE(!qlora::SpecialTokens().find("a", 0, 1));
}

TEST_CASE(
    "special tokens count where the template writes them, not where messages hold their text") {
  const Traced chat({{"<u", {}}, {">Hi<e>", content(0)}, {"<e><a>", {}}}, 1);
  std::vector<Token> ids;
  for (const auto& match : chat.trace.special_tokens()) ids.push_back(match.id);
  REQUIRE(ids == std::vector<Token>{end_of_turn, assistant});
  REQUIRE(chat.at({chat.trace.special_tokens()[0].begin, chat.text.size()}) == "<e><a>");
}

TEST_CASE(
    "a message stands from its first character to its last; names and ids are no part of it") {
  const Traced chat({{"n", qlora::chat_origin(0, ChatPart::other)},
                     {"hm", thought(0)},
                     {" ", {}},
                     {"yo", content(0)},
                     {"{f}", qlora::chat_origin(1, ChatPart::call)},
                     {"id", qlora::chat_origin(2, ChatPart::other)}},
                    4);
  REQUIRE(chat.at(chat.trace.content(0).value()) == "hm yo");
  REQUIRE(chat.at(chat.trace.content(1).value()) == "{f}");
  REQUIRE(!chat.trace.content(2));
  REQUIRE(!chat.trace.content(3));
  REQUIRE((chat.trace.writes_calls(1) && !chat.trace.writes_calls(0)));
  REQUIRE(!chat.trace.writes_tools());
  REQUIRE(Traced({{"f", qlora::from_tools}}, 0).trace.writes_tools());
  REQUIRE(!Traced({{"f", qlora::from_variables}}, 0).trace.writes_tools());
}

TEST_CASE("a gap reaches from the message before to the one behind") {
  const Traced chat(plain, 2);
  const TextRange first = chat.trace.content(0).value(), second = chat.trace.content(1).value();
  REQUIRE(chat.at(chat.trace.gap(first.begin, 0)) == "<u>Hi<e><e>\n<a>");
  REQUIRE(chat.at(chat.trace.gap(second.begin, 1)) == "<e>\n<a>Yo<e> \n");
  const auto any = chat.trace.first_special(chat.trace.gap(second.begin, 1), nullptr);
  REQUIRE((any && any->id == end_of_turn && any->begin == first.end));
  const std::vector<Token> allowed{assistant};
  const auto begins = chat.trace.first_special(chat.trace.gap(second.begin, 1), &allowed);
  REQUIRE((begins && begins->end == second.begin));
  REQUIRE(!chat.trace.first_special(second, nullptr));
}

TEST_CASE("a turn ends with its special token, or else with the white space behind it") {
  REQUIRE(Traced(plain, 2).turn(0) == "Hi<e><e>");
  REQUIRE(Traced(plain, 2).turn(1) == "Yo<e>");
  REQUIRE(Traced({{"Yo", content(0)}, {"\n \n", {}}, {"Hi", content(1)}}, 2).turn(0) == "Yo\n \n");
  REQUIRE(Traced({{"Yo", content(0)}, {" <a> ", {}}}, 1).turn(0) == "Yo ");
}

TEST_CASE("with a thought the turn begins behind as much of the generation prompt as is there") {
  const Traced chat({{"<u>", {}},
                     {"Hi", content(0)},
                     {"<e><a>\n<t>", {}},
                     {"hm", thought(1)},
                     {"</t>", {}},
                     {"Yo", content(1)},
                     {"<e>", {}}},
                    2);
  REQUIRE(chat.turn(1, "<a>\n", 3) == "<t>hm</t>Yo<e>");
  REQUIRE(chat.turn(1, "<a>\n<t>", 3) == "hm</t>Yo<e>");
  REQUIRE(chat.turn(1, "<a>\n<t>\n\n", 3) == "hm</t>Yo<e>");  // cut to what is there
  REQUIRE(chat.turn(1, "<a>--", 4) ==
          "message 2: where the answer begins in the template's text can't be told");
}

TEST_CASE("a message whose place can't be told is refused by its number") {
  const Traced apart({{"a", content(0)}, {"b", content(1)}, {"c", content(0)}}, 3);
  REQUIRE(apart.turn(0) == "message 1: the template writes it in parts, with others between");
  REQUIRE(apart.turn(2) == "message 3: the template does not write what it says as it is");
  REQUIRE(apart.turn(2, "<a>", 3, true) ==
          "message 3: it is empty, and the template writes nothing for it");
  const Traced empty({{"<u>", {}}, {"Hi", content(0)}, {"<e><a>", {}}, {"<e>\n", {}}}, 2);
  REQUIRE(empty.turn(1, "<a>", 3, true) == "<e>");
}
