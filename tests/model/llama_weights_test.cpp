#include "qlora/model/llama_weights.hpp"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "qlora/model/weight_formats.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

using qlora::RowMatrixXf;

namespace {

constexpr qlora::WeightFormats no_formats{};

// A source of whatever tensors it is given, each a number and the type that it is said to have.
struct Given final : qlora::ModelSource {
  std::string path = "m";
  std::map<std::string, std::pair<float, std::string>> tensors;
  bool ties = true;

  // A whole Llama of two layers.
  Given() : ModelSource(no_formats) {
    for (const char* name : {"model.embed_tokens.weight", "model.norm.weight"}) add(name);
    for (const std::string layer : {"0", "1"})
      for (const auto& name : qlora::layer_weights({.layers = 2}))
        add("model.layers." + layer + "." + name);
  }
  void add(const std::string& name, const std::string& type = "F32", float value = 1) {
    tensors[name] = {value, type};
  }
  std::string refusal() const {
    return test::message_of<qlora::FormatError>([&] { (void)qlora::require_llama_weights(*this); });
  }

  const std::string& name() const override { return path; }
  qlora::LlamaConfig config() const override { return {.layers = 2}; }
  qlora::TokenizerData tokenizer() const override { return {}; }
  std::vector<std::string> weights() const override {
    std::vector<std::string> all;
    for (const auto& [name, tensor] : tensors) all.push_back(name);
    return all;
  }
  bool ties_embeddings() const override { return ties; }
  bool has(const std::string& weight) const override { return tensors.contains(weight); }
  std::string own_name(const std::string& weight) const override { return "own " + weight; }
  std::string where(const std::string& weight) const override { return "m: '" + weight + "'"; }
  qlora::StoredWeight stored(const std::string& weight) const override {
    return {tensors.at(weight).second, 4};
  }
  RowMatrixXf dense(const std::string& weight) const override {
    return RowMatrixXf::Constant(1, 1, tensors.at(weight).first);
  }
  qlora::AnyLinear<float> as_is(const std::string& weight, const qlora::Warn&) const override {
    return qlora::AnyLinear<float>(dense(weight));
  }
  std::vector<std::span<const std::byte>> files() const override { return {}; }
  void release_pages() const override {}
};

}  // namespace

TEST_CASE(
    "a source with all weights of a Llama is taken, and the missing one is named as its own") {
  Given whole;
  REQUIRE(whole.refusal() == "nothing was thrown");
  whole.add("model.layers.1.self_attn.rotary_emb.inv_freq");  // computed from the configuration
  REQUIRE(whole.refusal() == "nothing was thrown");
  for (const auto& name : Given().weights()) {
    Given cut;
    cut.tensors.erase(name);
    REQUIRE(cut.refusal() == "m: expected the tensor 'own " + name + "', found none");
  }
}

TEST_CASE("a tensor that is left over is refused with why, also beside one that is missing") {
  const std::pair<const char*, const char*> left_over[] = {
      {"model.layers.0.mlp.experts.0.w1.weight", "mixture of experts is not supported"},
      {"blk.0.ffn_gate_exps.weight", "mixture of experts is not supported"},
      {"model.layers.0.self_attn.q_proj.lora_A.weight", "merge the adapter first"},
      {"model.layers.0.self_attn.q_proj.qweight", "weights of GPTQ or AWQ are not supported"},
      {"model.layers.0.self_attn.q_proj.weight_scale", "weights in FP8"},
      {"model.layers.0.self_attn.k_norm.weight", "this family has no norms of query and key"},
      {"model.layers.0.self_attn.q_proj.bias", "the configuration says that there is no such bias"},
      {"model.layers.0.self_attn.sinks", "attention sinks are not supported"},
      {"model.layers.2.mlp.up_proj.weight", "no part of this model reads it"},
      {"model.layers.99999999999999999999.mlp.up_proj.weight", "no part of this model reads it"}};
  for (const auto& [name, why] : left_over) {
    Given more;
    more.add(name);
    REQUIRE(test::contains(more.refusal(), "m: '" + std::string(name) + "': " + why));
    more.tensors.erase("model.norm.weight");
    REQUIRE(test::contains(more.refusal(),
                           "m: expected the tensor 'own model.norm.weight', found "
                           "none; m: '" +
                               std::string(name) + "': " + why));
  }
}

TEST_CASE("integers and doubles under names that no part of a model has are left out aloud") {
  Given more;
  more.add("vision_positions", "I64");
  more.add("statistics", "F64");
  std::vector<std::string> said;
  REQUIRE(!qlora::require_llama_weights(more, [&](const auto& text) { said.push_back(text); }));
  REQUIRE(said ==
          std::vector<std::string>{
              "m: 'statistics': F64 data that no part of the model reads; it was left out",
              "m: 'vision_positions': I64 data that no part of the model reads; it was left "
              "out"});
  REQUIRE(more.refusal() == "nothing was thrown");  // nobody need be told
  for (const auto& [name, type] :
       std::vector<std::pair<std::string, std::string>>{{"statistics", "F16"},
                                                        {"model.positions", "I64"},
                                                        {"x.weight", "I8"},
                                                        {"rope", "F64"},
                                                        {"blk.0.x", "I32"},
                                                        {"x.scale", "U8"}}) {
    Given broken;
    broken.add(name, type);
    REQUIRE(broken.refusal() == "m: '" + name + "': no part of this model reads it");
  }
}

TEST_CASE("without a head in the files the embedding serves only where the source ties them") {
  Given source;
  REQUIRE(!qlora::has_own_head(source));
  source.ties = false;
  REQUIRE(test::contains(
      test::message_of<qlora::FormatError>([&] { (void)qlora::has_own_head(source); }),
      "m: expected the tensor 'lm_head.weight', found none: tie_word_embeddings is false"));
  source.add("lm_head.weight");  // the same numbers as the embedding
  REQUIRE(qlora::has_own_head(source));
  source.ties = true;
  REQUIRE(!qlora::has_own_head(source));
  source.add("lm_head.weight", "F32", 2);
  REQUIRE(qlora::has_own_head(source));
}
