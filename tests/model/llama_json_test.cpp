#include "qlora/model/llama_json.hpp"

#include <string>

#include "support/catch.hpp"
#include "support/numbers.hpp"

using Json = nlohmann::json;

namespace {

// The least that a config.json has.
Json least(const char* type = "llama") {
  return {{"model_type", type},     {"hidden_size", 64},         {"intermediate_size", 96},
          {"num_hidden_layers", 3}, {"num_attention_heads", 16}, {"vocab_size", 300}};
}
qlora::LlamaFolderConfig read(const std::string& patch, const char* type = "llama") {
  Json json = least(type);
  json.update(Json::parse(patch));
  return qlora::read_llama_json("c.json", json);
}
std::string refusal(const std::string& patch, const char* type = "llama") {
  return test::message_of<qlora::FormatError>([&] { (void)read(patch, type); });
}

}  // namespace

TEST_CASE("keys that config.json leaves out have transformers' values for a Llama") {
  const auto all = read("{}");
  REQUIRE(all.config.kv_heads == 16);
  REQUIRE(all.config.context == 2048);
  REQUIRE(all.config.norm_epsilon == 1e-6);
  REQUIRE(all.config.rotary.base == 10000);
  REQUIRE(all.config.vocabulary == 300);
  REQUIRE(all.config.head_width() == 4);
  REQUIRE(!all.ties_embeddings);
  REQUIRE(read(R"({"tie_word_embeddings":true})").ties_embeddings);
}

TEST_CASE("keys that config.json leaves out have other values for a Mistral, whose window counts") {
  const auto silent = read("{}", "mistral");
  REQUIRE((silent.config.window == 4096 && silent.config.attention(2).window == 4096));
  const auto open = read(R"({"sliding_window":null})", "mistral");
  REQUIRE(open.config.context == 131072);
  REQUIRE((open.config.window == 0 && open.config.kinds.empty()));
  REQUIRE(open.config.kv_heads == 8);
  REQUIRE(read(R"({"max_position_embeddings":4096})", "mistral").config.context == 4096);
  REQUIRE(
      read(R"({"sliding_window":null,"num_key_value_heads":null})", "mistral").config.kv_heads ==
      16);
}

TEST_CASE("a window that is shorter than the context counts unless it is said not to be used") {
  REQUIRE(test::contains(refusal(R"({"sliding_window":2047})"),
                         "sliding_window: expected none or one of at least the context 2048, found "
                         "2047"));
  REQUIRE(read(R"({"sliding_window":2048})").config.context == 2048);
  REQUIRE(read(R"({"sliding_window":7,"use_sliding_window":false})").config.context == 2048);
  const std::string full = R"("full_attention",)";
  REQUIRE(read(R"({"layer_types":[)" + full + full + R"("full_attention"]})").config.layers == 3);
  REQUIRE(refusal(R"({"layer_types":[)" + full + full + R"("sliding_attention"]})") ==
          "c.json: layer_types: expected full_attention only, found sliding_attention");
  REQUIRE(test::contains(refusal(R"({"layer_types":["full_attention"]})"),
                         "layer_types: expected a list of 3"));
}

TEST_CASE("parts that other models have are refused by key and pass where they are left out") {
  for (const char* off :
       {R"({"mlp_bias":false})", R"({"qk_norm":null})", R"({"num_local_experts":0})",
        R"({"embedding_multiplier":1.0})", R"({"embedding_multiplier":1})",
        R"({"pretraining_tp":1})", R"({"pruned_heads":{}})", R"({"auto_map":{}})",
        R"({"hidden_act":"swish"})", R"({"is_encoder_decoder":false})",
        R"({"temperature":7,"torch_dtype":"float16"})",
        R"({"rope_parameters":{"rope_type":"default","partial_rotary_factor":1.0}})"}) {
    INFO(off);
    REQUIRE(refusal(off) == "nothing was thrown");
  }
  const std::pair<const char*, const char*> refused[] = {
      {R"({"qkv_bias":true})", "qkv_bias: expected false, found true: biases are not supported"},
      {R"({"use_qk_norm":true})", "norms of query and key are not supported"},
      {R"({"num_experts":8})", "num_experts: expected 0, found 8: mixture of experts is not"},
      {R"({"logits_scaling":2.0})", "logits_scaling: expected 1.0, found 2.0: scales between"},
      {R"({"pretraining_tp":2})", "pretraining_tp: expected 1, found 2: products in slices"},
      {R"({"auto_map":{"AutoModel":"m.M"}})", "a model with code of its own"},
      {R"({"pruned_heads":{"0":[1]}})", R"(pruned_heads: {"0":[1]} is not supported)"},
      {R"({"partial_rotary_factor":0.5})", "partial_rotary_factor: expected 1.0, found 0.5"},
      {R"({"rope_parameters":{"factor":2}})",
       "c.json: rope_parameters: factor: 2 is not supported"},
      {R"({"rope_scaling":{"type":"dynamic","factor":2}})",
       "c.json: rope_scaling: dynamic is not supported: expected default, linear, llama3 or yarn"},
      {R"({"rope_scaling":{"type":"linear"}})", "c.json: rope_scaling"},
      {R"({"rope_scaling":{"rope_type":"llama3","factor":2,"low_freq_factor":1,"high_freq_factor":4}})",
       "original_max_position_embeddings"},
      {R"({"rope_scaling":"linear"})", "rope_scaling: expected an object, found linear"},
      {R"({"rms_norm_eps":0})", "rms_norm_eps: expected a finite number above 0, found 0"}};
  for (const auto& [patch, part] : refused) {
    const std::string found = refusal(patch);
    INFO(found);
    REQUIRE(test::contains(found, part));
    REQUIRE(found.starts_with("c.json: "));
  }
}

TEST_CASE("weights that are packed by a method that can't be read are refused by its name") {
  const auto refused = [](const std::string& json) {
    return test::message_of<qlora::FormatError>(
        [&] { qlora::require_readable_quantization("c.json", Json::parse(json)); });
  };
  for (const char* readable : {"null", R"({"quant_method":"qlora"})", R"({"load_in_4bit":true})",
                               R"({"quant_method":"bitsandbytes","load_in_4bit":true})"})
    REQUIRE(refused(readable) == "nothing was thrown");
  REQUIRE(refused(R"({"quant_method":"gptq","bits":4})") ==
          "c.json: quantization_config: gptq is not supported");
  REQUIRE(refused("{}") == "c.json: quantization_config: none is not supported");
  for (const char* eight :
       {R"({"load_in_8bit":true})", R"({"quant_method":"bitsandbytes","load_in_8bit":true})"})
    REQUIRE(refused(eight) ==
            "c.json: quantization_config: bitsandbytes in 8 bits is not supported");
  REQUIRE(refused("[]") == "c.json: quantization_config: expected an object, found []");
  REQUIRE(test::contains(refusal(R"({"quantization_config":{"quant_method":"awq"}})"),
                         "quantization_config: awq is not supported"));
}
