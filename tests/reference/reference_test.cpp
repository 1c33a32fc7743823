// The real model against independent implementations: bitsandbytes, PEFT, transformers and
// tokenizers (tests/golden).
#include <map>

#include "qlora/io/sha256.hpp"
#include "qlora/model/generate.hpp"
#include "qlora/model/gguf_source.hpp"
#include "qlora/optim/make_optimizer.hpp"
#include "qlora/quant/quantize.hpp"
#include "qlora/text/dataset.hpp"
#include "qlora/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/golden.hpp"
#include "support/load.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::Token;

namespace {

const qlora::GgufSource& file() {
  static const qlora::GgufSource opened(QLORA_TEST_MODEL);
  return opened;
}

}  // namespace

TEST_CASE("tokens are Hugging Face's on thousands of strings") {
  const qlora::Tokenizer tokenizer(file().tokenizer());
  const auto golden = test::golden("tokenizer.json");
  REQUIRE(golden["strings"].size() >= 2000);
  for (const auto& each : golden["strings"]) {
    const auto text = each["text"].get<std::string>();
    INFO(text);
    REQUIRE(tokenizer.encode(text) == each["ids"].get<std::vector<Token>>());
  }
  for (const auto& each : golden["invalid_bytes"]) {
    std::string bytes;
    for (const auto& byte : each["bytes"]) bytes += static_cast<char>(byte.get<int>());
    REQUIRE(tokenizer.encode(bytes) == each["ids"].get<std::vector<Token>>());
  }
  for (const auto& special : golden["special"])
    REQUIRE(tokenizer.is_special(tokenizer.special(special.get<std::string>())));
}

TEST_CASE("the packed q_proj of layer 0 is bitsandbytes' bytes") {
  const auto golden = test::golden("q_projection.json");
  const auto dense = file().dense(qlora::projection_weight_name(0, qlora::q_proj));
  const auto first = test::floats_of_bits(golden["dequantized_rows"]["first"]);
  REQUIRE(test::same_bits(dense.data(), first.data(), 8));
  const auto w = qlora::quantize<qlora::formats::nf4>(dense);
  REQUIRE(qlora::sha256(std::as_bytes(std::span(w.codes()))) ==
          golden["packed_sha256"].get<std::string>());
  REQUIRE(qlora::sha256(std::as_bytes(std::span(w.scale().values))) ==
          golden["absmax_sha256"].get<std::string>());
}

TEST_CASE("logits and a greedy continuation of the float path are transformers'") {
  const auto golden = test::golden("logits.json");
  const auto model = test::load_model(file(), "float");
  const auto ids = golden["ids"].get<std::vector<Token>>();
  const auto logits = model.logits(ids);
  const auto columns = golden["columns"].get<std::vector<Index>>();
  float worst = 0;
  for (Index row = 0; row < logits.rows(); ++row) {
    const auto at = static_cast<std::size_t>(row);
    for (std::size_t c = 0; c < columns.size(); ++c)
      worst =
          std::max(worst, std::abs(logits(row, columns[c]) - golden["logits"][at][c].get<float>()));
    Index best = 0;
    worst = std::max(
        worst, std::abs(logits.row(row).maxCoeff(&best) - golden["maximum"][at].get<float>()));
    REQUIRE(best == golden["argmax"][at].get<Index>());
  }
  INFO("largest difference of a logit " << worst);
  REQUIRE(worst < 2e-3f);
  const auto greedy = golden["greedy"].get<std::vector<Token>>();
  REQUIRE(greedy.size() == 32);
  REQUIRE(qlora::generate(model, ids, {.new_tokens = 32}) == greedy);
}

TEST_CASE(
    "the reference run starts at the measured loss with the measured number of parameters, and "
    "learns") {
  const auto golden = test::golden("reference_run.json");
  REQUIRE(qlora::sha256(file().files().front()) == golden["model_sha256"].get<std::string>());
  const auto examples = qlora::windows(golden["ids"].get<std::vector<Token>>(), 256);
  REQUIRE(examples.size() == 2);
  const auto losses = [&] {
    auto model = test::load_model(file(), "nf4-dq");
    model.adapt({.rank = 16, .alpha = 16});
    REQUIRE(qlora::parameter_count(model.parameters()) == 4884480);
    qlora::Trainer trainer(model, examples, {.steps = 3, .batch = 2, .learning_rate = 1e-3});
    std::vector<double> all;
    trainer.run([&](const qlora::StepMetrics& m) {
      all.push_back(m.loss);
      return true;
    });
    return all;
  };
  const auto first = losses();
  INFO("losses " << first[0] << ", " << first[1] << ", " << first[2]);
  REQUIRE(std::abs(first[0] - golden["loss_nf4_double_quant_before_training"].get<double>()) <
          0.002);
  REQUIRE(first[2] < first[0] - 0.1);
  REQUIRE(losses() == first);
}

// 200 steps with three seeds are in tests/long.sh.
TEST_CASE("8-bit paged AdamW learns the real model as float32 AdamW does") {
  const test::TemporaryFolder folder;
  const auto examples =
      qlora::windows(test::golden("reference_run.json")["ids"].get<std::vector<Token>>(), 64);
  const auto losses = [&](const qlora::OptimizerSettings& settings) {
    auto model = test::load_model(file(), "nf4-dq");
    model.adapt({.rank = 16, .alpha = 16});
    qlora::Trainer trainer(model, examples,
                           {.steps = 20, .batch = 2, .learning_rate = settings.learning_rate},
                           qlora::make_optimizer(settings));
    std::vector<double> all;
    trainer.run([&](const qlora::StepMetrics& m) {
      all.push_back(m.loss);
      return true;
    });
    if (settings.paged) REQUIRE(trainer.optimizer().counters().evictions > 20);
    return all;
  };
  const auto whole = losses({.name = "adamw", .learning_rate = 2e-4});
  const auto paged = losses({.name = "adamw8bit",
                             .learning_rate = 2e-4,
                             .paged = qlora::FilePagerOptions{
                                 folder.path(), {.budget = 2 << 20, .extent_bytes = 128 << 10}}});
  REQUIRE(whole.back() < whole.front() - 0.1);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    INFO("step " << i + 1 << ": " << whole[i] << " and " << paged[i]);
    REQUIRE(std::abs(paged[i] - whole[i]) < 0.01 * whole[i]);
  }
}
