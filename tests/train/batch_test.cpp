#include "qlora/train/batch.hpp"

#include "support/catch.hpp"

using qlora::Index;

TEST_CASE("position t predicts t + 1, never across rows, and only what counts") {
  const std::vector<qlora::EncodedText> examples{{{5, 6, 7}, {0, 1, 0}}, {{8, 9}, {1, 1}}};
  const std::vector<Index> both{0, 1};
  const auto batch = qlora::make_batch(examples, both);
  REQUIRE(batch.ids == std::vector<qlora::Token>{5, 6, 7, 8, 9});
  REQUIRE(batch.targets ==
          std::vector<qlora::Token>{6, qlora::ignored, qlora::ignored, 9, qlora::ignored});
  REQUIRE(batch.layout.positions == std::vector<Index>{0, 1, 2, 0, 1});
  REQUIRE(batch.counted == 2);
}

TEST_CASE(
    "places outside of the examples, and examples without a mark for each token, are refused") {
  const std::vector<qlora::EncodedText> examples{{{5, 6}, {1, 1}}, {{8, 9}, {1}}};
  REQUIRE_THROWS_AS(qlora::make_batch(examples, std::vector<Index>{2}), qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::make_batch(examples, std::vector<Index>{-1}), qlora::ShapeError);
  REQUIRE_THROWS_WITH(qlora::make_batch(examples, std::vector<Index>{0, 1}),
                      test::contains("example 1: expected a mark for each of its 2 tokens"));
  REQUIRE(qlora::make_batch(examples, {}).ids.empty());
}
