#include "qlora/text/tokenizer_data.hpp"

#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Token, qlora::TokenizerData;
using qlora::text_detail::split_merge;

TEST_CASE("an added token is found by its id, and an id of the vocabulary is none") {
  TokenizerData data;
  REQUIRE(data.find_added(0) == nullptr);
  data.added = {{.id = 2, .text = "<a>", .special = true}, {.id = 5, .text = "<b>"}};
  REQUIRE(data.find_added(2) == &data.added[0]);
  REQUIRE(data.find_added(5)->text == "<b>");
  for (const Token id : {-1, 0, 1, 3, 4, 6}) {
    REQUIRE(data.find_added(id) == nullptr);
    REQUIRE(!data.is_special(id));
  }
  REQUIRE(data.is_special(2));
  REQUIRE(!data.is_special(5));
}

TEST_CASE("a merge is split at its first space but for one that it begins with") {
  using Parts = std::pair<std::string, std::string>;
  REQUIRE(split_merge("t.json", "a b") == Parts{"a", "b"});
  REQUIRE(split_merge("t.json", "  a") == Parts{" ", "a"});
  REQUIRE(split_merge("t.json", "a  ") == Parts{"a", " "});
  test::law("parts", [](std::string left, std::string right) {
    std::erase(left, ' ');
    RC_PRE(!left.empty());
    RC_ASSERT(split_merge("t.json", left + " " + right) == Parts(left, right));
  });
  for (const char* whole : {"", "ab", " ab"})
    REQUIRE(test::message_of<qlora::FormatError>([&] { (void)split_merge("t.json", whole); }) ==
            "t.json: merge '" + std::string(whole) + "': expected two parts");
}

TEST_CASE("an id that ends an answer is kept once, in the order of adding") {
  TokenizerData data;
  for (const Token id : {7, 2, 7, 2, 9}) qlora::text_detail::add_end(data, id);
  REQUIRE(data.ends == std::vector<Token>{7, 2, 9});
  REQUIRE(qlora::text_detail::unused_name(123456) == "[unused123456]");
}
