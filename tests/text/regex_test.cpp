#include "qlora/text/regex.hpp"

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

TEST_CASE("the parts of a split are the text") {
  test::law("joined", [](const std::vector<bool>& bits) {
    std::string text, joined;
    for (const bool bit : bits) text += bit ? "1" : "a";
    for (const auto& part : parts(qlora::Regex("1+"), text)) joined += part.substr(1);
    RC_ASSERT(joined == text);
  });
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
