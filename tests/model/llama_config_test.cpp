#include "qlora/model/llama_config.hpp"

#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index;

// SmolLM2-135M: nine heads of 64 over three of keys.
const qlora::LlamaConfig smol{.vocabulary = 49152,
                              .width = 576,
                              .hidden = 1536,
                              .layers = 30,
                              .heads = 9,
                              .kv_heads = 3,
                              .context = 2048};

TEST_CASE("projections have the shapes of a published model") {
  using Shape = std::pair<Index, Index>;
  REQUIRE(smol.head_width() == 64);
  REQUIRE(smol.attention().group() == 3);
  REQUIRE(qlora::projection_shape(smol, qlora::q_proj) == Shape{576, 576});
  REQUIRE(qlora::projection_shape(smol, qlora::k_proj) == Shape{192, 576});
  REQUIRE(qlora::projection_shape(smol, qlora::v_proj) == Shape{192, 576});
  REQUIRE(qlora::projection_shape(smol, qlora::o_proj) == Shape{576, 576});
  REQUIRE(qlora::projection_shape(smol, qlora::gate_proj) == Shape{1536, 576});
  REQUIRE(qlora::projection_shape(smol, qlora::up_proj) == Shape{1536, 576});
  REQUIRE(qlora::projection_shape(smol, qlora::down_proj) == Shape{576, 1536});
}

TEST_CASE("targets are all projections or those of the attention") {
  using Names = std::vector<std::string>;
  REQUIRE(qlora::target_modules("attention") == Names{"q_proj", "k_proj", "v_proj", "o_proj"});
  REQUIRE(qlora::target_modules("all").size() == 7);
  REQUIRE(qlora::target_modules("all").back() == "down_proj");
  REQUIRE(test::contains(
      test::message_of<qlora::OptionError>([] { (void)qlora::target_modules("some"); }),
      "targets 'some': expected all or attention"));
}
