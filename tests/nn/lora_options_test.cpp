#include "qlora/nn/lora_options.hpp"

#include "support/catch.hpp"

TEST_CASE(
    "the scaling is alpha / rank, or alpha / sqrt(rank) when rank-stabilized; 0 without a rank") {
  REQUIRE(qlora::LoraOptions{.rank = 4, .alpha = 12}.scaling() == 3);
  REQUIRE(qlora::LoraOptions{.rank = 4, .alpha = 12, .rank_stabilized = true}.scaling() == 6);
  REQUIRE(qlora::LoraOptions{.rank = 0}.scaling() == 0);
  REQUIRE(qlora::LoraOptions{.rank = 4, .alpha = 12}.scaling<float>() == 3.f);
  REQUIRE_FALSE(qlora::LoraOptions().seed.has_value());
}
