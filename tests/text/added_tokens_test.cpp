#include "qlora/text/added_tokens.hpp"

#include "support/law.hpp"

namespace {

using qlora::AddedToken;

// Tokens as [id], what lies between them as it is, with | at each end of a part.
std::string marked(const std::vector<AddedToken>& tokens, std::string_view text,
                   bool with_special = true) {
  std::string all;
  qlora::AddedTokens(tokens).split(
      text, with_special, [&](std::string_view part) { all.append(part).append("|"); },
      [&](qlora::Token id) { all.append("[").append(std::to_string(id)).append("]"); });
  return all;
}

}  // namespace

TEST_CASE("the longest token at the leftmost place is found") {
  const std::vector<AddedToken> tokens{
      {.id = 1, .text = "<a>"}, {.id = 2, .text = "<a><b>"}, {.id = 3, .text = "x<a"}};
  REQUIRE(marked(tokens, "<a><b><a>") == "[2][1]");
  REQUIRE(marked(tokens, "<a><bx<a>") == "[1]<b|[3]>|");
  REQUIRE(marked(tokens, "").empty());
  REQUIRE(marked({}, "<a>") == "<a>|");
  REQUIRE(marked({{.id = 1, .text = ""}}, "a") == "a|");
}

TEST_CASE("a special token is text where nothing is special, another one is found there too") {
  const std::vector<AddedToken> tokens{{.id = 1, .text = "<end>", .special = true},
                                       {.id = 2, .text = "<x>"}};
  REQUIRE(marked(tokens, "a<end><x>") == "a|[1][2]");
  REQUIRE(marked(tokens, "a<end><x>", false) == "a<end>|[2]");
}

TEST_CASE("white space goes with tokens that strip it, and words stand by themselves") {
  const std::vector<AddedToken> left{{.id = 1, .text = "<a>", .lstrip = true}};
  REQUIRE(marked(left, "x \u3000<a> <a>") == "x|[1][1]");
  const std::vector<AddedToken> right{{.id = 1, .text = "<a>", .rstrip = true}};
  REQUIRE(marked(right, " <a> \n\u2003y<a>") == " |[1]y|[1]");
  const std::vector<AddedToken> word{{.id = 1, .text = "the", .single_word = true}};
  REQUIRE(marked(word, "the them athe the") == "[1] them athe |[1]");
  REQUIRE(marked(word, "the_ ٣the the-the Ⓐthe \u0301the") ==
          "the_ ٣the |[1]-|[1] Ⓐthe \u0301the|");
}

TEST_CASE("tokens of normalized text are looked for in what the others leave") {
  const std::vector<AddedToken> tokens{{.id = 1, .text = "ab", .normalized = true},
                                       {.id = 2, .text = "bc"}};
  REQUIRE(marked(tokens, "abc ab") == "a|[2] |[1]");
}

TEST_CASE("thousands of added tokens are found") {
  std::vector<AddedToken> tokens;
  std::string text, expected;
  for (int i = 0; i < 5000; ++i) {
    tokens.push_back({.id = i, .text = qlora::message("<|", i, "|>")});
    text += "x" + tokens.back().text;
    expected.append("x|[").append(std::to_string(i)).append("]");
  }
  REQUIRE(marked(tokens, text) == expected);
}

TEST_CASE("parts and tokens together are the text") {
  const std::vector<AddedToken> tokens{{.id = 0, .text = "a"},
                                       {.id = 1, .text = "ab"},
                                       {.id = 2, .text = "ba ", .normalized = true},
                                       {.id = 3, .text = "cab", .single_word = true}};
  const qlora::AddedTokens added(tokens);
  test::law("joined", [&](const std::vector<int>& letters) {
    std::string text, joined;
    for (const int letter : letters) text += "abc "[static_cast<unsigned>(letter) % 4];
    added.split(
        text, true, [&](std::string_view part) { joined += part; },
        [&](qlora::Token id) { joined += tokens[static_cast<std::size_t>(id)].text; });
    RC_ASSERT(joined == text);
  });
}
