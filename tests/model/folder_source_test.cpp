// A folder in Hugging Face layout, through the same door as a GGUF file.
#include <algorithm>
#include <string>
#include <vector>

#include "qlora/model/llama_weights.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/load.hpp"
#include "support/numbers.hpp"
#include "support/tiny_folder.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

namespace {

const std::vector<qlora::Token> six_ids{70, 100, 3, 250, 70, 71};

struct TinyFolder : test::TinyFile {
  RowMatrixXf logits(const std::string& format) const {
    return test::load_model(source, format).logits(six_ids);
  }
};

RowMatrixXf logits_of(const std::filesystem::path& path, const std::string& format) {
  return test::load_model(*test::open_model(path), format).logits(six_ids);
}

}  // namespace

TEST_CASE("a folder gives the model that the GGUF file gives, float and packed") {
  const TinyFolder tiny;
  test::write_float_folder(tiny.folder / "hf", tiny.source);
  for (const std::string format : {"float", "nf4-dq", "as-is"})
    REQUIRE(test::same_bits(logits_of(tiny.folder / "hf", format), tiny.logits(format)));
}

TEST_CASE("the tokenizer of a folder gives the GGUF file's ids") {
  const TinyFolder tiny;
  test::write_float_folder(tiny.folder / "hf", tiny.source);
  const auto data = test::open_model(tiny.folder / "hf")->tokenizer();
  REQUIRE(data.tokens == tiny.source.tokenizer().tokens);
  REQUIRE(data.chat_template == tiny.source.tokenizer().chat_template);
}

TEST_CASE("bitsandbytes' folders load as they are, and decoded into other formats") {
  const TinyFolder tiny;
  test::write_packed_folder<qlora::formats::nf4_dq>(tiny.folder / "dq", tiny.source, "nf4-dq");
  test::write_packed_folder<qlora::formats::fp4>(tiny.folder / "fp4", tiny.source, "fp4");
  REQUIRE(test::same_bits(logits_of(tiny.folder / "dq", "as-is"), tiny.logits("nf4-dq")));
  REQUIRE(test::same_bits(logits_of(tiny.folder / "fp4", "as-is"), tiny.logits("fp4")));
  const RowMatrixXf decoded = logits_of(tiny.folder / "dq", "float");
  REQUIRE((decoded - tiny.logits("nf4-dq")).norm() < 1e-4f * decoded.norm());
  REQUIRE(!test::same_bits(logits_of(tiny.folder / "dq", "int4"), tiny.logits("int4")));
}

TEST_CASE("this library's own packed folders load as they are") {
  const TinyFolder tiny;
  test::write_packed_folder<qlora::formats::nf3>(tiny.folder / "a", tiny.source, "nf3");
  test::write_packed_folder<qlora::formats::bof4_s_opq>(tiny.folder / "b", tiny.source,
                                                        "bof4-s-opq");
  REQUIRE(test::same_bits(logits_of(tiny.folder / "a", "as-is"), tiny.logits("nf3")));
  REQUIRE(test::same_bits(logits_of(tiny.folder / "b", "as-is"), tiny.logits("bof4-s-opq")));
}

TEMPLATE_TEST_CASE("a GGUF file's own blocks load as they are", "", qlora::formats::q4_0,
                   qlora::formats::q4_1, qlora::formats::q8_0, qlora::formats::iq4_nl,
                   qlora::formats::mxfp4) {
  const TinyFolder tiny;
  test::write_packed_gguf<TestType>(tiny.folder / "p.gguf", tiny.source.file());
  const qlora::GgufSource packed(tiny.folder / "p.gguf");
  // Row by row what the file decodes to, q and k back in Hugging Face's order.
  for (int p = 0; p < qlora::projection_count; ++p) {
    const std::string name = qlora::projection_weight_name(1, static_cast<qlora::Projection>(p));
    const RowMatrixXf dense = packed.dense(name);
    const auto linear = packed.as_is(name, {});
    const RowMatrixXf decoded = linear.rows_of(0, linear.rows());
    REQUIRE(linear.bytes() < dense.size() * 2);
    for (Index i = 0; i < dense.size(); ++i) REQUIRE(decoded.data()[i] == dense.data()[i]);
  }
  const RowMatrixXf own = logits_of(tiny.folder / "p.gguf", "as-is");
  REQUIRE((own - logits_of(tiny.folder / "p.gguf", "float")).norm() < 1e-4f * own.norm());
}

TEST_CASE("a config that is no Llama of ours is refused by key") {
  const TinyFolder tiny;
  test::write_float_folder(tiny.folder / "hf", tiny.source);
  const auto path = tiny.folder / "hf" / "config.json";
  const std::string text = qlora::read_text_file(path);
  const auto expect = [&](const std::string& key, const nlohmann::json& value,
                          const std::string& part) {
    auto json = nlohmann::json::parse(text);
    json[key] = value;
    if (value.is_discarded()) json.erase(key);
    qlora::write_text_file(path, json.dump());
    const auto found = test::message_of<qlora::Error>(
        [&] { (void)test::load_model(*test::open_model(tiny.folder / "hf"), "float"); });
    INFO(key << ": " << found);
    REQUIRE(test::contains(found, "hf"));
    REQUIRE(test::contains(found, part));
  };
  const nlohmann::json absent(nlohmann::json::value_t::discarded);
  expect("model_type", "mamba", "model_type: expected one of llama, mistral, qwen2, ");
  expect("model_type", "qwen2", "q_proj.bias");
  expect("hidden_size", absent, "hidden_size");
  expect("hidden_size", "wide", "config.json");
  expect("num_attention_heads", 3,
         "num_key_value_heads: expected a divisor of the 3 heads, found 2");
  expect("num_attention_heads", 6, "q_proj.weight': expected shape [48, 32]");
  expect("num_attention_heads", 0, "num_attention_heads: expected a whole number from 1");
  expect("head_dim", 64, "q_proj.weight");
  expect("attention_bias", true, "q_proj.bias");
  expect("attention_bias", 1, "attention_bias: expected true or false, found 1");
  expect("rope_scaling", {{"rope_type", "llama3"}},
         "rope_scaling: expected the key 'low_freq_factor'");
  expect("rope_parameters", {{"rope_type", "longrope"}},
         "rope_parameters: longrope is not supported");
  expect("tie_word_embeddings", absent, "tie_word_embeddings is false");
  expect("a_new_key", 1, "config.json: a_new_key: 1 is not supported");
  expect("hidden_act", "gelu", "hidden_act");
  expect("vocab_size", 7, "model.embed_tokens.weight");
  expect("num_hidden_layers", 3, "model.layers.2");
}

TEST_CASE("a base of the rotary embedding among the rope_parameters counts") {
  const TinyFolder tiny;
  test::write_float_folder(tiny.folder / "hf", tiny.source);
  auto json = qlora::read_json_file(tiny.folder / "hf" / "config.json");
  json.erase("rope_theta");
  json["rope_parameters"] = {{"rope_theta", 123.0}, {"rope_type", "default"}};
  qlora::write_text_file(tiny.folder / "hf" / "config.json", json.dump());
  REQUIRE(test::open_model(tiny.folder / "hf")->config().rotary.base == 123.0);
}

TEST_CASE("an own head counts unless the embedding is tied") {
  const TinyFolder tiny;
  test::write_float_folder(tiny.folder / "hf", tiny.source);
  REQUIRE(!test::open_model(tiny.folder / "hf")->has("lm_head.weight"));
  auto json = qlora::read_json_file(tiny.folder / "hf" / "config.json");
  json["tie_word_embeddings"] = false;
  qlora::write_text_file(tiny.folder / "hf" / "config.json", json.dump());
  std::vector<std::string> names = test::weight_names(tiny.source);
  names.push_back("lm_head.weight");
  {
    qlora::SafetensorsWriter file(tiny.folder / "hf" / "model.safetensors", names);
    for (const auto& name : names)
      file.add(name, name == "lm_head.weight"
                         ? RowMatrixXf(2.f * tiny.source.dense("model.embed_tokens.weight"))
                         : tiny.source.dense(name));
    file.commit();
  }
  const RowMatrixXf doubled = logits_of(tiny.folder / "hf", "float");
  REQUIRE((doubled - 2.f * tiny.logits("float")).norm() < 1e-5f * doubled.norm());
}

TEST_CASE("a head in the file counts though the embedding is tied, unless it is the embedding") {
  const TinyFolder tiny;
  test::write_float_folder(tiny.folder / "hf", tiny.source);
  std::vector<std::string> names = test::weight_names(tiny.source);
  names.push_back("lm_head.weight");
  const auto write = [&](float factor) {
    qlora::SafetensorsWriter file(tiny.folder / "hf" / "model.safetensors", names);
    for (const auto& name : names)
      file.add(name, name == "lm_head.weight"
                         ? RowMatrixXf(factor * tiny.source.dense("model.embed_tokens.weight"))
                         : tiny.source.dense(name));
    file.commit();
  };
  std::string warning;
  const auto has_own = [&] {
    warning.clear();
    return qlora::has_own_head(*test::open_model(tiny.folder / "hf"),
                               [&](const std::string& text) { warning += text; });
  };
  write(1);
  REQUIRE(!has_own());
  REQUIRE(warning.empty());
  write(2);
  REQUIRE(has_own());
  REQUIRE(test::contains(warning, "'lm_head.weight'"));
  const RowMatrixXf doubled = logits_of(tiny.folder / "hf", "float");
  REQUIRE((doubled - 2.f * tiny.logits("float")).norm() < 1e-5f * doubled.norm());
}

TEST_CASE("the weights of a folder are named without the parts of packed ones") {
  const TinyFolder tiny;
  test::write_packed_folder<qlora::formats::nf4_dq>(tiny.folder / "dq", tiny.source, "nf4-dq");
  const auto source = test::open_model(tiny.folder / "dq");
  auto expected = test::weight_names(tiny.source);
  std::sort(expected.begin(), expected.end());
  REQUIRE(source->weights() == expected);
  const auto stored = source->stored("model.layers.0.mlp.up_proj.weight");
  REQUIRE(stored.type == "packed");
  REQUIRE(stored.bytes > static_cast<std::size_t>(64 * 32 / 2));
  REQUIRE(source->stored("model.norm.weight").bytes == 32 * 4);
}
