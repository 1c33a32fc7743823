#include "qlora/nn/batch_layout.hpp"

#include "support/catch.hpp"

using qlora::Index;

TEST_CASE("sequences of one length lie one after the other and count positions from the past on") {
  const qlora::BatchLayout layout = qlora::uniform_layout(2, 3, 5);
  REQUIRE(layout.positions == std::vector<Index>{5, 6, 7, 5, 6, 7});
  REQUIRE(layout.sequences.size() == 2);
  REQUIRE(layout.sequences[1].first_query == 3);
  REQUIRE(layout.sequences[1].queries == 3);
  REQUIRE(layout.sequences[1].first_key == 3);
  REQUIRE(layout.sequences[1].keys() == 8);
  REQUIRE(qlora::uniform_layout(0, 3).sequences.empty());
}
