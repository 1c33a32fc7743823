#include "qlora/model/llama_gguf.hpp"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/gguf_builder.hpp"
#include "support/numbers.hpp"

using test::GgufBuilder;

namespace {

// The least that a GGUF file of a Llama has: 4 heads of 8, a context of 64, 5 tokens.
GgufBuilder least() {
  GgufBuilder file;
  file.key("general.architecture", "llama")
      .key("llama.block_count", 3u)
      .key("llama.embedding_length", 32u)
      .key("llama.feed_forward_length", 48u)
      .key("llama.attention.head_count", 4u)
      .key("llama.context_length", 64u)
      .key("llama.attention.layer_norm_rms_epsilon", 0.5f)
      .tensor("token_embd.weight", test::normal_matrix(5, 32, 1));
  return file;
}
qlora::LlamaConfig read(const GgufBuilder& file) {
  const test::TemporaryFolder folder;
  return qlora::llama_config(qlora::GgufFile(folder.write("m.gguf", file.bytes())));
}
template <class T>
std::string refusal(const std::string& key, const T& value) {
  GgufBuilder file = least();
  file.key(key, value);
  return test::message_of<qlora::FormatError>([&] { (void)read(file); });
}

}  // namespace

TEST_CASE(
    "keys that a GGUF file leaves out have llama.cpp's values, the embedding gives its rows") {
  GgufBuilder file = least();
  file.key("llama.vocab_size", 99u);  // llama.cpp's own count of tokens
  const auto config = read(file);
  REQUIRE((config.layers == 3 && config.width == 32 && config.hidden == 48));
  REQUIRE((config.heads == 4 && config.kv_heads == 4 && config.head_width() == 8));
  REQUIRE((config.context == 64 && config.vocabulary == 5));
  REQUIRE((config.rotary.base == 10000 && config.norm_epsilon == 0.5));
}

TEST_CASE("sizes in a list of one for each layer count as their one value") {
  GgufBuilder file = least();
  file.key("llama.attention.head_count_kv", std::vector<std::int32_t>{2, 2, 2});
  REQUIRE(read(file).kv_heads == 2);
  REQUIRE(
      test::contains(refusal("llama.attention.head_count_kv", std::vector<std::int32_t>{2, 2, 4}),
                     "m.gguf: llama.attention.head_count_kv: expected one number for all layers"));
}

TEST_CASE("keys with the value that leaves a part out pass") {
  GgufBuilder file = least();
  file.key("general.type", "model")
      .key("llama.expert_count", 0u)
      .key("llama.expert_used_count", 0u)
      .key("llama.rope.dimension_count", 8u)
      .key("llama.attention.key_length", 8u)
      .key("llama.rope.scaling.type", "none")
      .key("llama.rope.scaling.factor", 4.f)
      .key("llama.rope.scaling.attn_factor", 1.f)
      .key("llama.rope.scaling.original_context_length", 16u)
      .key("llama.attention.sliding_window", 64u)
      .key("llama.attention.causal", true)
      .key("llama.use_parallel_residual", false)
      .key("llama.pooling_type", 0u)
      .key("llama.tensor_data_layout", "Meta AI original pth")
      .key("other.expert_count", 8u);
  REQUIRE(read(file).layers == 3);
  for (const float factor : {0.f, 1.f})
    REQUIRE(refusal("llama.rope.scaling.factor", factor) == "nothing was thrown");
}

TEST_CASE("what this library's Llama can't compute is refused by the key of the GGUF file") {
  const std::pair<std::string, std::string> refused[] = {
      {refusal("general.type", "adapter"), "general.type: expected model, found adapter"},
      {refusal("llama.expert_count", 8u),
       "llama.expert_count: expected 0, found 8: mixture of experts is not supported"},
      {refusal("llama.rope.dimension_count", 4u),
       "llama.rope.dimension_count: expected 8, the width of a head, found 4"},
      {refusal("llama.attention.value_length", 16u), "expected 8, the width of a head, found 16"},
      {refusal("llama.rope.scaling.type", "longrope"),
       "llama.rope.scaling.type: longrope is not supported: expected none, linear or yarn"},
      {refusal("llama.rope.scaling.attn_factor", 2.f), "llama.rope.scaling.attn_factor"},
      {refusal("llama.attention.causal", false), "causal: expected true, found false"},
      {refusal("llama.use_parallel_residual", true), "expected false, found true"},
      {refusal("llama.pooling_type", 1u), "llama.pooling_type: expected 0, found 1"},
      {refusal("llama.attention.head_count_kv", 3u), "expected a divisor of the 4 heads, found 3"},
      {refusal("llama.rope.freq_base", -1.f), "llama.rope.freq_base: expected a finite number"},
      {refusal("llama.leaky_attention", true), "llama.leaky_attention: true is not supported"}};
  for (const auto& [found, part] : refused) {
    INFO(found);
    REQUIRE(test::contains(found, "m.gguf: "));
    REQUIRE(test::contains(found, part));
  }
}

TEST_CASE(
    "scalings of the rotary embedding and a window are read, the divisors from their tensor") {
  GgufBuilder file = least();
  file.key("llama.rope.scale_linear", 2.f).key("llama.attention.sliding_window", 63u);
  const auto linear = read(file);
  REQUIRE((linear.rotary.scaling == qlora::RotaryScaling::linear && linear.rotary.factor == 2));
  REQUIRE((linear.window == 63 && linear.attention(2).window == 63));
  file = least();
  file.key("llama.rope.scaling.type", "yarn")
      .key("llama.rope.scaling.factor", 4.f)
      .key("llama.rope.scaling.attn_factor", 2.f)
      .key("llama.rope.scaling.original_context_length", 16u);
  const auto yarn = read(file);
  REQUIRE(yarn.rotary.scaling == qlora::RotaryScaling::yarn);
  REQUIRE(yarn.rotary.magnitude == Approx(2 * (0.1 * std::log(4.0) + 1)));
  file = least();
  file.tensor("rope_freqs.weight", (qlora::RowMatrixXf(1, 4) << 1, 2, 1, 8).finished());
  REQUIRE(read(file).rotary.divisors == std::vector<double>{1, 2, 1, 8});
  file = least();
  file.tensor("rope_freqs.weight", qlora::RowMatrixXf::Ones(1, 2));
  REQUIRE(test::contains(test::message_of<qlora::FormatError>([&] { (void)read(file); }),
                         "'rope_freqs.weight': expected 4 numbers, one a pair, found 2"));
}

TEST_CASE("a GGUF file without a key or without the embedding is refused by the name of it") {
  const auto refused = [](const GgufBuilder& file) {
    return test::message_of<qlora::FormatError>([&] { (void)read(file); });
  };
  REQUIRE(test::contains(refused(GgufBuilder()),
                         "m.gguf: expected the key 'general.architecture', found none"));
  GgufBuilder only;
  only.key("general.architecture", "llama");
  REQUIRE(test::contains(refused(only), "expected the key 'llama.embedding_length', found none"));
  std::string bytes = least().bytes();
  bytes.replace(bytes.find("token_embd"), 10, "token_xxxx");
  const test::TemporaryFolder folder;
  const qlora::GgufFile renamed(folder.write("m.gguf", bytes));
  REQUIRE(test::contains(
      test::message_of<qlora::FormatError>([&] { (void)qlora::llama_config(renamed); }),
      "token_embd.weight"));
}
