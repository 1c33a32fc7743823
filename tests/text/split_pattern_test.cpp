#include "qlora/text/split_pattern.hpp"

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qlora/text/regex.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/numbers.hpp"

namespace {

bool matches(const std::string& pattern, const std::string& text) {
  return qlora::Regex("\\A(?:" + qlora::pcre_split(pattern) + ")\\z").find(text).has_value();
}

}  // namespace

TEST_CASE("white space in a pattern is Unicode's, in a class and outside") {
  for (const char* space : {" ", "\t", "\n", "\v", "\f", "\r", "\u0085", "\u00a0", "\u1680",
                            "\u2000", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"}) {
    INFO(space);
    REQUIRE(matches(R"(\s)", space));
    REQUIRE(matches(R"([x\s])", space));
    REQUIRE_FALSE(matches(R"(\S)", space));
    REQUIRE_FALSE(matches(R"([\S])", space));
    REQUIRE_FALSE(matches(R"([^\s])", space));
    REQUIRE(matches(R"([^\S])", space));
  }
  // U+180E was a space once, U+200B is none, U+001C counts as one elsewhere.
  for (const char* other : {"\u180e", "\u200b", "\x1c", "a", "\ufeff", "🚀"}) {
    INFO(other);
    REQUIRE_FALSE(matches(R"(\s)", other));
    REQUIRE(matches(R"(\S)", other));
    REQUIRE(matches(R"([^\s\n])", other));
    REQUIRE(matches(R"([\S])", other));
  }
}

TEST_CASE("patterns of known tokenizers are taken as they are but for white space") {
  REQUIRE(qlora::pcre_split(qlora::digit_split) == qlora::digit_split);
  REQUIRE(matches(R"(\u0416{2})", "ЖЖ"));
  REQUIRE(matches(R"([]\]])", "]"));
  for (const auto& split : qlora::named_splits())
    for (const auto& pattern : split.splits)
      REQUIRE_NOTHROW(qlora::Regex(qlora::pcre_split(pattern)));
}

TEST_CASE("what means something else to Oniguruma is refused with the place") {
  const auto refusal = [](const std::string& pattern) {
    return test::message_of<qlora::FormatError>([&] { (void)qlora::pcre_split(pattern); });
  };
  for (const auto& [pattern, part] :
       std::vector<std::pair<std::string, std::string>>{{R"(a\h)", "'\\h' at 1"},
                                                        {R"(\K)", "'\\K'"},
                                                        {R"(\R)", "'\\R'"},
                                                        {R"(\Z)", "'\\Z'"},
                                                        {R"(\G)", "'\\G'"},
                                                        {"[a&&b]", "'&&' at 2"},
                                                        {"[a[b]]", "'[ within [ ]'"},
                                                        {"[[:alpha:]]", "'[ within [ ]'"},
                                                        {"a{,3}", "'{,'"},
                                                        {"a{1,3}+", "'}+'"},
                                                        {"(?m:.)", "'(?m:'"},
                                                        {"(?x) a", "'(?x)'"},
                                                        {"(?<name>a)", "'(?<n'"},
                                                        {"(?~a)", "'(?~a'"}}) {
    INFO(pattern << ": " << refusal(pattern));
    REQUIRE(test::contains(refusal(pattern), part));
  }
}

TEST_CASE("a split that GGUF has a name for is found by it") {
  REQUIRE(qlora::find_split("smollm")->splits ==
          std::vector<std::string>{qlora::digit_split, qlora::gpt2_split});
  REQUIRE(qlora::find_split("llama-bpe")->ignore_merges);
  REQUIRE(qlora::find_split("llama-bpe")->add_begin);
  REQUIRE(qlora::find_split("qwen2")->splits == std::vector<std::string>{qlora::qwen2_split});
  REQUIRE_FALSE(qlora::find_split("qwen9").has_value());
  REQUIRE_FALSE(qlora::find_split("").has_value());
}

namespace {

// The pieces of a text, cut by one pattern after the other.
std::vector<std::string> pieces_of(const std::string& text, std::span<const qlora::Regex> splits) {
  if (splits.empty()) return {text};
  std::vector<std::string> all;
  splits.front().split(text, [&](std::string_view piece, bool) {
    for (auto& each : pieces_of(std::string(piece), splits.subspan(1)))
      all.push_back(std::move(each));
  });
  return all;
}

}  // namespace

TEST_CASE("texts are cut as Hugging Face's tokenizers cuts them") {
  const auto golden = test::golden("splits.json");
  for (const auto& [name, all] : golden["pieces"].items()) {
    std::vector<qlora::Regex> splits;
    const auto known = qlora::find_split(name).value();
    for (const auto& pattern : known.splits) splits.emplace_back(qlora::pcre_split(pattern));
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto text = golden["texts"][i].get<std::string>();
      INFO(name << ": " << text);
      REQUIRE(pieces_of(text, splits) == all[i].get<std::vector<std::string>>());
    }
  }
  REQUIRE(golden["texts"].size() >= 200);
}
