#include "qlora/text/regex.hpp"

#include <thread>

#include "qlora/text/utf8.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

namespace {

std::vector<std::string> parts(const qlora::Regex& regex, std::string_view text) {
  std::vector<std::string> all;
  regex.split(text, [&](std::string_view part, bool matched) {
    all.emplace_back(1, matched ? '+' : '-').append(part);
  });
  return all;
}

}  // namespace

TEST_CASE("split gives matches and what lies between them, in order") {
  const qlora::Regex digit(R"(\p{N})");
  REQUIRE(parts(digit, "a12b") == std::vector<std::string>{"-a", "+1", "+2", "-b"});
  REQUIRE(parts(digit, "").empty());
  REQUIRE(parts(digit, "x") == std::vector<std::string>{"-x"});
  REQUIRE(parts(qlora::Regex("b*"), "abbc") == std::vector<std::string>{"-a", "+bb", "-c"});
  REQUIRE(parts(qlora::Regex(R"(\p{N})"), "٣x") == std::vector<std::string>{"+٣", "-x"});
}

TEST_CASE("an empty match divides a text between characters, never within one") {
  REQUIRE(parts(qlora::Regex(R"([\x{80}-\x{bf}]|)"), "Жa") == std::vector<std::string>{"-Ж", "-a"});
  REQUIRE(parts(qlora::Regex("(?=b)"), "abb") == std::vector<std::string>{"-a", "-b", "-b"});
  REQUIRE(parts(qlora::Regex("$"), "🚀\nx") == std::vector<std::string>{"-🚀", "-\nx"});
  REQUIRE(parts(qlora::Regex(R"((?=(\d{3})+(?!\d)))"), "1234567") ==
          std::vector<std::string>{"-1", "-234", "-567"});
}

TEST_CASE("the parts of a split are the text") {
  test::law("joined", [](const std::vector<bool>& bits) {
    std::string text, joined;
    for (const bool bit : bits) text += bit ? "1" : "a";
    for (const auto& part : parts(qlora::Regex("1+"), text)) joined += part.substr(1);
    RC_ASSERT(joined == text);
  });
  const std::vector<qlora::Regex> patterns = [] {
    std::vector<qlora::Regex> all;
    for (const char* pattern : {"", "|.", R"(\p{L}*)", R"(\b)", R"((?=\p{Lu}))", "^|$", "a|"})
      all.emplace_back(pattern);
    return all;
  }();
  test::law("whole characters, whatever is matched", [&](const std::string& bytes) {
    const std::string text = qlora::repair_utf8(bytes + "Жa\n你B🚀");
    for (const auto& pattern : patterns) {
      std::string joined;
      for (const auto& part : parts(pattern, text)) {
        RC_ASSERT(part.size() > 1);
        RC_ASSERT(qlora::repair_utf8(part) == part);
        joined += part.substr(1);
      }
      RC_ASSERT(joined == text);
    }
  });
}

TEST_CASE("threads share one pattern") {
  const qlora::Regex pattern(R"(\p{L}+|\p{N})");
  std::string text;
  for (int i = 0; i < 300; ++i) text += "word 12 Ж ";
  const auto expected = parts(pattern, text);
  std::vector<std::vector<std::string>> found(4);
  {
    std::vector<std::thread> threads;
    for (auto& each : found)
      threads.emplace_back([&] {
        for (int i = 0; i < 5; ++i) each = parts(pattern, text);
      });
    for (auto& thread : threads) thread.join();
  }
  for (const auto& each : found) REQUIRE(each == expected);
}

TEST_CASE("groups that take no part are empty; a broken pattern is named with the place") {
  const auto groups = qlora::Regex("(a)|(b)").find("xb");
  REQUIRE(groups.has_value());
  REQUIRE((*groups)[1].empty());
  REQUIRE((*groups)[2] == "b");
  REQUIRE_FALSE(qlora::Regex("a").find("b").has_value());
  const auto text = test::message_of<qlora::FormatError>([] { qlora::Regex broken("a("); });
  REQUIRE(test::contains(text, "'a('"));
}

TEST_CASE("a message never shows a whole long pattern") {
  std::string pattern(5000, 'a');
  pattern += "Ж(";
  const auto text = test::message_of<qlora::FormatError>([&] { qlora::Regex broken(pattern); });
  REQUIRE(text.size() < 200);
  REQUIRE(test::contains(text, "aЖ('"));
  REQUIRE(qlora::repair_utf8(text) == text);
}
