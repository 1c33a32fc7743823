#include "qlora/text/encoded_text.hpp"

#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/law.hpp"

using qlora::EncodedText, qlora::Token;

static_assert(sizeof(qlora::TrainOn) == 1 &&
              qlora::TrainOn::answers != qlora::TrainOn::questions_and_answers);

TEST_CASE("a token is added with whether it counts, which is 0 or 1, in the order of adding") {
  test::law("push", [](const std::vector<std::pair<Token, bool>>& tokens) {
    EncodedText text;
    RC_ASSERT(text.ids.empty() && text.counted.empty());
    for (const auto& [id, counts] : tokens) text.push(id, counts);
    RC_ASSERT(text.ids.size() == tokens.size() && text.counted.size() == tokens.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      RC_ASSERT(text.ids[i] == tokens[i].first);
      RC_ASSERT(text.counted[i] == (tokens[i].second ? 1 : 0));
    }
  });
}
