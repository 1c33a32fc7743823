#include "qlora/model/load_llama.hpp"

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "qlora/io/gguf_writer.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/model/gguf_source.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"
#include "support/tiny_model.hpp"

using qlora::Index;
using qlora::RowMatrixXd;

namespace {

// Llama as a GGUF file means it, written anew from the file's own tensors in double: rotary pairs
// are neighbours (2i, 2i + 1), nothing is permuted, one token and one head at a time.
RowMatrixXd plain_logits(const qlora::GgufFile& file, const test::TinyModel& shape,
                         const std::vector<qlora::Token>& ids) {
  const auto weight = [&](const std::string& name) {
    return RowMatrixXd(file.dense(name).cast<double>());
  };
  const Index d = shape.width / shape.heads, group = shape.heads / shape.kv_heads,
              tokens = static_cast<Index>(ids.size());
  const auto norm = [&](const RowMatrixXd& x, const std::string& name) {
    RowMatrixXd y = x;
    for (Index t = 0; t < x.rows(); ++t)
      y.row(t) = x.row(t).cwiseProduct(weight(name).row(0)) /
                 std::sqrt(x.row(t).squaredNorm() / static_cast<double>(x.cols()) + 1e-5);
    return y;
  };
  const auto rotate = [&](RowMatrixXd& x) {
    for (Index t = 0; t < x.rows(); ++t)
      for (Index i = 0; i < x.cols(); i += 2) {
        const double angle =
            static_cast<double>(t) *
            std::pow(10000.0, -static_cast<double>(i % d) / static_cast<double>(d));
        const double a = x(t, i), b = x(t, i + 1);
        x(t, i) = a * std::cos(angle) - b * std::sin(angle);
        x(t, i + 1) = a * std::sin(angle) + b * std::cos(angle);
      }
  };
  RowMatrixXd x(tokens, shape.width);
  for (Index t = 0; t < tokens; ++t)
    x.row(t) = weight("token_embd.weight").row(ids[static_cast<std::size_t>(t)]);
  for (Index layer = 0; layer < shape.layers; ++layer) {
    const std::string b = "blk." + std::to_string(layer) + ".";
    const RowMatrixXd h = norm(x, b + "attn_norm.weight");
    RowMatrixXd q = h * weight(b + "attn_q.weight").transpose(),
                k = h * weight(b + "attn_k.weight").transpose();
    const RowMatrixXd v = h * weight(b + "attn_v.weight").transpose();
    rotate(q);
    rotate(k);
    RowMatrixXd attended = RowMatrixXd::Zero(tokens, shape.width);
    for (Index t = 0; t < tokens; ++t)
      for (Index head = 0; head < shape.heads; ++head) {
        double total = 0;
        for (Index s = 0; s <= t; ++s) {
          const double score =
              std::exp(q.row(t).segment(head * d, d).dot(k.row(s).segment(head / group * d, d)) /
                       std::sqrt(static_cast<double>(d)));
          total += score;
          attended.row(t).segment(head * d, d) += score * v.row(s).segment(head / group * d, d);
        }
        attended.row(t).segment(head * d, d) /= total;
      }
    x += attended * weight(b + "attn_output.weight").transpose();
    const RowMatrixXd f = norm(x, b + "ffn_norm.weight");
    RowMatrixXd gate = f * weight(b + "ffn_gate.weight").transpose();
    gate = gate.unaryExpr([](double z) { return z / (1 + std::exp(-z)); });
    x += gate.cwiseProduct(f * weight(b + "ffn_up.weight").transpose()) *
         weight(b + "ffn_down.weight").transpose();
  }
  return norm(x, "output_norm.weight") * weight("token_embd.weight").transpose();
}

std::string refusal(const test::TemporaryFolder& folder, const std::string& bytes) {
  const qlora::GgufSource file(folder.write("m.gguf", bytes));
  return test::message_of<qlora::Error>([&] { (void)qlora::load_llama(file); });
}

}  // namespace

TEST_CASE("rows back in Hugging Face's order give the forward pass that the file means") {
  const test::TemporaryFolder folder;
  const test::TinyModel tiny;
  const qlora::GgufSource file(folder.write("m.gguf", tiny.bytes()));
  const std::vector<qlora::Token> ids{70, 100, 3, 250, 70, 71, 72, 100, 9, 30};
  const auto logits = qlora::load_llama(file, {.format = "float"}).logits(ids);
  const RowMatrixXd expected = plain_logits(file.file(), tiny, ids);
  // Float sums of at most 48 products through two layers: errors of about 1e-5 of the largest
  // logit.
  REQUIRE((logits.cast<double>() - expected).cwiseAbs().maxCoeff() <
          1e-4 * expected.cwiseAbs().maxCoeff());
}

TEST_CASE("the permutation is undone within each head") {
  qlora::RowMatrixXf w(8, 1);
  w << 0, 1, 2, 3, 4, 5, 6, 7;
  qlora::RowMatrixXf expected(8, 1);
  expected << 0, 2, 1, 3, 4, 6, 5, 7;
  REQUIRE(qlora::rows_in_hugging_face_order(w, {4}) == expected);
}

TEST_CASE("every format loads and comes near the float model") {
  const test::TemporaryFolder folder;
  const qlora::GgufSource file(folder.write("m.gguf", test::TinyModel().bytes()));
  const std::vector<qlora::Token> ids{70, 100, 3, 250};
  const auto exact = qlora::load_llama(file, {.format = "float"}).logits(ids);
  for (const auto name : qlora::format_names) {
    const auto near = qlora::load_llama(file, {.format = std::string(name)}).logits(ids);
    INFO(name);
    // Two and three bits, and powers of two, keep a weight's sign and its rough size.
    const bool coarse =
        name == "nf2" || name == "nf3" || name == "fp4-e3m0" || name == "q2_k" || name == "q3_k";
    REQUIRE((near - exact).norm() < (coarse ? 1.5f : 0.7f) * exact.norm());
    REQUIRE((near - exact).norm() > 0);
  }
}

TEST_CASE("another architecture, missing tensors and sizes that do not fit are refused by name") {
  const test::TemporaryFolder folder;
  test::TinyModel tiny;
  tiny.architecture = "gpt2";
  REQUIRE(test::contains(refusal(folder, tiny.bytes()), "expected one of llama, qwen2, "));
  tiny = {};
  tiny.heads = 3;
  REQUIRE(test::contains(refusal(folder, tiny.bytes()), "expected a divisor of the 3 heads"));
  auto scaled = test::TinyModel().builder();
  scaled.key("llama.rope.scaling.type", "longrope");
  REQUIRE(test::contains(refusal(folder, scaled.bytes()), "llama.rope.scaling.type"));
  std::string renamed = test::TinyModel().bytes();
  renamed.replace(renamed.find("blk.1.ffn_up"), 12, "blk.1.ffn_xx");
  REQUIRE(test::contains(refusal(folder, renamed), "blk.1.ffn_up.weight"));
}

TEST_CASE("weights that are not finite are refused by tensor") {
  const test::TemporaryFolder folder;
  std::string bytes = test::TinyModel().bytes();
  const float infinity = std::numeric_limits<float>::infinity();
  std::memcpy(bytes.data() + bytes.size() - 4, &infinity, 4);  // the end of blk.1.ffn_down
  REQUIRE(test::contains(refusal(folder, bytes), "blk.1.ffn_down.weight"));
}

TEST_CASE("a tensor or key that nothing reads is refused before anything is loaded") {
  const test::TemporaryFolder folder;
  for (const char* name : {"rope_freqs.weight", "blk.1.attn_q.bias", "blk.2.attn_q.weight", "x"}) {
    auto more = test::TinyModel().builder();
    more.tensor(name, test::normal_matrix(1, 4, 1));
    INFO(name);
    REQUIRE(test::contains(refusal(folder, more.bytes()), "'" + std::string(name) + "'"));
  }
  auto scaled = test::TinyModel().builder();
  scaled.key("llama.rope.scaling.attn_factor", 4.f);
  REQUIRE(test::contains(refusal(folder, scaled.bytes()),
                         "llama.rope.scaling.attn_factor: expected 1, found 4"));
  auto unknown = test::TinyModel().builder();
  unknown.key("llama.a_new_key", 4.f);
  REQUIRE(test::contains(refusal(folder, unknown.bytes()), "llama.a_new_key: 4 is not supported"));
}

TEST_CASE("as-is tells once which weights became floats, and others' data is left out aloud") {
  const test::TemporaryFolder folder;
  const auto warnings = [&](const std::string& bytes, const std::string& format) {
    std::vector<std::string> all;
    const qlora::GgufSource source(folder.write("m.gguf", bytes));
    (void)qlora::load_llama(
        source, {.format = format, .warn = [&](const std::string& text) { all.push_back(text); }});
    return all;
  };
  const test::TinyModel tiny;
  REQUIRE(warnings(tiny.bytes(), "as-is").empty());
  auto more = tiny.builder();
  more.tensor("order", {4}, 26, std::string(16, 'x'));
  const auto foreign = warnings(more.bytes(), "float");
  REQUIRE(foreign.size() == 1);
  REQUIRE(test::contains(foreign.front(), "'order': I32"));
  // The same model with two of its weights in halves.
  const qlora::GgufFile file(folder.write("m.gguf", tiny.bytes()));
  qlora::GgufWriter halves;
  const auto is_half = [](const std::string& name) { return name.ends_with("ffn_up.weight"); };
  for (const auto& [key, value] : file.raw_values()) halves.set_raw(key, value);
  for (const auto& [name, tensor] : file.tensors())
    halves.declare(name, tensor.shape,
                   is_half(name) ? qlora::GgufTypeId::f16 : qlora::GgufTypeId::f32);
  halves.open(folder / "half.gguf");
  for (const auto& [name, tensor] : file.tensors()) {
    const qlora::RowMatrixXf values = file.dense(name);
    const std::vector<qlora::float16> half(values.data(), values.data() + values.size());
    halves.write(is_half(name) ? std::as_bytes(std::span(half)) : tensor.bytes);
  }
  halves.commit();
  const std::string bytes = qlora::read_text_file(folder / "half.gguf");
  const auto decoded = warnings(bytes, "as-is");
  REQUIRE(decoded.size() == 1);
  REQUIRE(test::contains(decoded.front(), "2 weights in F16"));
  REQUIRE(test::contains(decoded.front(), "0.0 MiB in the file, 0.0 MiB in memory"));
  REQUIRE(warnings(bytes, "nf4-dq").empty());
}
