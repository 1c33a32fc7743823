#include "qlora/model/llama_names.hpp"

#include <set>

#include "support/catch.hpp"

TEST_CASE("names go to GGUF and back") {
  for (const char* name :
       {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
        "model.layers.0.input_layernorm.weight", "model.layers.17.post_attention_layernorm.weight",
        "model.layers.3.self_attn.q_proj.weight", "model.layers.29.mlp.down_proj.weight"})
    REQUIRE(qlora::hugging_face_name(qlora::gguf_name(name).value()) == name);
  REQUIRE(qlora::gguf_name("model.layers.3.mlp.up_proj.weight") == "blk.3.ffn_up.weight");
  for (const char* name :
       {"", "model.layers.", "model.layers.x.mlp.up_proj.weight", "model.layers.3",
        "model.layers.3.", "model.layers.3.mlp.weight", "blk.1.ffn_up.weight"})
    REQUIRE(!qlora::gguf_name(name));
}

TEST_CASE("the orders of rows are inverse to each other, within heads, for q and k only") {
  const auto order = qlora::row_order("blk.0.attn_q.weight", 6);
  std::set<qlora::Index> seen;
  for (qlora::Index row = 0; row < 18; ++row) {
    REQUIRE(order.hugging_face_row(order.gguf_row(row)) == row);
    REQUIRE(order.gguf_row(row) / 6 == row / 6);
    seen.insert(order.gguf_row(row));
  }
  REQUIRE(seen.size() == 18);
  REQUIRE(qlora::row_order("model.layers.1.self_attn.k_proj.weight", 6).head_width == 6);
  REQUIRE(qlora::row_order("model.layers.1.self_attn.v_proj.weight", 6).head_width == 0);
  REQUIRE(qlora::row_order("blk.0.attn_output.weight", 6).gguf_row(5) == 5);
}
