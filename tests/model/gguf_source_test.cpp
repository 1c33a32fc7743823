#include "qlora/model/gguf_source.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"
#include "support/tiny_model.hpp"

using qlora::RowMatrixXf;

namespace {

using Few = qlora::FormatList<qlora::formats::q8_0>;

struct Opened {
  test::TemporaryFolder folder;
  qlora::GgufSource source;

  explicit Opened(const test::GgufBuilder& file)
      : source(folder.write("m.gguf", file.bytes()), qlora::weight_formats<Few>) {}
};

}  // namespace

TEST_CASE("a weight of a GGUF file is found by Hugging Face's name and by the file's own") {
  test::GgufBuilder file = test::TinyModel().builder();
  file.tensor("extra", test::normal_matrix(1, 3, 1));
  const Opened m(file);
  const std::string name = "model.layers.1.self_attn.k_proj.weight";
  REQUIRE(m.source.own_name(name) == "blk.1.attn_k.weight");
  REQUIRE((m.source.has(name) && m.source.has("blk.1.attn_k.weight")));
  REQUIRE(test::same_bits(m.source.dense(name), m.source.dense("blk.1.attn_k.weight")));
  REQUIRE(m.source.where(name) == m.source.name() + ": tensor 'blk.1.attn_k.weight'");
  REQUIRE(!m.source.has("model.layers.2.self_attn.k_proj.weight"));
  const auto weights = m.source.weights();
  REQUIRE(weights.size() == m.source.file().tensors().size());
  REQUIRE(std::count(weights.begin(), weights.end(), name) == 1);
  REQUIRE(std::count(weights.begin(), weights.end(), "extra") == 1);
  const auto stored = m.source.stored(name);
  REQUIRE((stored.type == "F32" && stored.bytes == 16 * 32 * 4));
}

TEST_CASE("the rows of queries and keys are in Hugging Face's order, all others as in the file") {
  const Opened m(test::TinyModel().builder());
  const RowMatrixXf keys = m.source.dense("model.layers.0.self_attn.k_proj.weight"),
                    stored = m.source.file().dense("blk.0.attn_k.weight");
  // Heads of 8: rows i and i + 4 are the file's 2 i and 2 i + 1.
  for (qlora::Index head = 0; head < 2; ++head)
    for (qlora::Index i = 0; i < 4; ++i) {
      REQUIRE(keys.row(8 * head + i) == stored.row(8 * head + 2 * i));
      REQUIRE(keys.row(8 * head + i + 4) == stored.row(8 * head + 2 * i + 1));
    }
  REQUIRE(test::same_bits(m.source.dense("model.layers.0.self_attn.v_proj.weight"),
                          m.source.file().dense("blk.0.attn_v.weight")));
}

TEST_CASE("queries whose rows are no whole heads are refused before a row moves") {
  test::GgufBuilder file = test::TinyModel().builder();
  file.tensor("more.attn_q.weight", test::normal_matrix(12, 32, 1));
  file.tensor("packed.attn_k.weight", {12, 32}, 8, std::string(12 * 34, '\1'));
  const Opened m(file);
  const auto refusal = [&](auto call) {
    return test::message_of<qlora::FormatError>([&] { (void)call(); });
  };
  const std::string expected =
      "expected rows of whole heads of an even width, found 12 rows and heads of 8";
  REQUIRE(refusal([&] { return m.source.dense("more.attn_q.weight"); }) ==
          m.source.name() + ": tensor 'more.attn_q.weight': " + expected);
  REQUIRE(refusal([&] { return m.source.as_is("packed.attn_k.weight", {}); }) ==
          m.source.name() + ": tensor 'packed.attn_k.weight': " + expected);
  REQUIRE(refusal([&] { return qlora::rows_in_gguf_order(test::normal_matrix(12, 4, 1), {8}); }) ==
          expected);
}

TEST_CASE("a file ties its embedding to the head unless it has one of its own") {
  REQUIRE(Opened(test::TinyModel().builder()).source.ties_embeddings());
  test::GgufBuilder file = test::TinyModel().builder();
  file.tensor("output.weight", test::normal_matrix(265, 32, 7));
  const Opened m(file);
  REQUIRE(!m.source.ties_embeddings());
  REQUIRE(test::same_bits(m.source.dense("lm_head.weight"), test::normal_matrix(265, 32, 7)));
}

TEST_CASE("keys of no Llama are an error of each call that needs them, and of no other") {
  test::TinyModel tiny;
  tiny.architecture = "mamba";
  const Opened m(tiny.builder());
  REQUIRE(m.source.has("model.norm.weight"));
  REQUIRE(m.source.stored("model.norm.weight").bytes == 32 * 4);
  REQUIRE(m.source.tokenizer().tokens == tiny.tokens);
  REQUIRE(m.source.files().size() == 1);
  REQUIRE(m.source.files()[0].size() == tiny.bytes().size());
  const auto refused = [&](auto call) {
    return test::contains(test::message_of<qlora::FormatError>([&] { (void)call(); }),
                          "m.gguf: general.architecture: expected one of llama, qwen2, ");
  };
  for (int i = 0; i < 2; ++i) REQUIRE(refused([&] { return m.source.config(); }));
  REQUIRE(refused([&] { return m.source.dense("model.norm.weight"); }));
  REQUIRE(refused([&] { return m.source.as_is("model.norm.weight", {}); }));
}

TEST_CASE(
    "blocks of a listed type stay packed, and a scale that is not finite is refused by tensor") {
  test::GgufBuilder file = test::TinyModel().builder();
  std::string blocks(8 * 34, '\1');  // 8 rows of 32 weights
  file.tensor("good", {8, 32}, 8, blocks);
  blocks[3 * 34 + 1] = '\x7c';
  blocks[3 * 34] = '\0';
  file.tensor("bad", {8, 32}, 8, blocks);
  const Opened m(file);
  const auto good = m.source.as_is("good", {});
  REQUIRE(good.bytes() == 8 * 34);
  REQUIRE(test::same_bits(good.rows_of(0, 8), m.source.dense("good")));
  const auto text = test::message_of<qlora::NumericError>([&] { (void)m.source.as_is("bad", {}); });
  INFO(text);
  REQUIRE(text.starts_with(m.source.name() + ": tensor 'bad': "));
  REQUIRE(test::contains(text, "row 3, block 0"));
}

TEST_CASE("a missing tensor of a GGUF file is refused by the file's own name for it") {
  const Opened m(test::TinyModel().builder());
  const std::string name = "model.layers.5.mlp.up_proj.weight";
  const auto refused = [&](auto call) {
    return test::contains(test::message_of<qlora::FormatError>([&] { (void)call(); }),
                          "blk.5.ffn_up.weight");
  };
  REQUIRE(refused([&] { return m.source.dense(name); }));
  REQUIRE(refused([&] { return m.source.stored(name); }));
  REQUIRE(refused([&] { return m.source.as_is(name, {}); }));
}
