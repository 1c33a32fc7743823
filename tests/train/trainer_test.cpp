#include "qlora/train/trainer.hpp"

#include "qlora/model/gguf_source.hpp"
#include "qlora/text/dataset.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/load.hpp"
#include "support/numbers.hpp"
#include "support/tiny_model.hpp"

using qlora::Index;
using qlora::StepMetrics;

namespace {

struct Setup {
  test::TemporaryFolder folder;
  qlora::GgufSource file{folder.write("m.gguf", test::TinyModel().bytes())};
  std::vector<qlora::EncodedText> examples = [] {
    std::vector<qlora::Token> ids;
    for (Index i = 0; i < 160; ++i) ids.push_back(static_cast<qlora::Token>(70 + i * i % 17));
    return qlora::windows(ids, 16);
  }();

  qlora::Llama<> model(float dropout = 0) const {
    auto model = test::load_model(file);
    model.adapt({.rank = 4, .alpha = 8, .dropout = dropout, .seed = 1});
    return model;
  }

  std::vector<StepMetrics> run(const qlora::TrainOptions& options, float dropout = 0) const {
    auto trained = model(dropout);
    qlora::Trainer trainer(trained, examples, options);
    std::vector<StepMetrics> all;
    trainer.run([&](const StepMetrics& m) {
      all.push_back(m);
      return true;
    });
    return all;
  }
};

}  // namespace

TEST_CASE(
    "the same seed gives the same losses bit for bit, another seed others, and the loss falls") {
  const Setup setup;
  const qlora::TrainOptions options{.steps = 12, .batch = 2, .learning_rate = 1e-2, .seed = 4};
  auto other = options;
  other.seed = 5;
  const auto a = setup.run(options, 0.1f), b = setup.run(options, 0.1f), c = setup.run(other, 0.1f);
  for (std::size_t i = 0; i < 12; ++i) {
    REQUIRE(a[i].loss == b[i].loss);
    REQUIRE(a[i].gradient_norm == b[i].gradient_norm);
  }
  REQUIRE(a[3].loss != c[3].loss);
  REQUIRE(a.back().loss < a.front().loss - 0.5);
}

TEST_CASE("accumulated micro-batches are one batch: targets are counted over the whole step") {
  Setup setup;
  setup.examples[0].ids.resize(
      5);  // of unequal length, so that a mean of means would be another number
  setup.examples[0].counted.resize(5);
  const auto whole = setup.run({.steps = 6, .batch = 4, .learning_rate = 1e-2, .seed = 4});
  const auto parts =
      setup.run({.steps = 6, .batch = 2, .accumulate = 2, .learning_rate = 1e-2, .seed = 4});
  for (std::size_t i = 0; i < 6; ++i) REQUIRE(std::abs(whole[i].loss - parts[i].loss) < 1e-4);
}

TEST_CASE("an epoch is a pass over all examples, a last small batch included") {
  const Setup setup;  // 10 examples
  REQUIRE(setup.run({.epochs = 2, .batch = 4}).size() == 6);
  REQUIRE(setup.run({.epochs = 1, .batch = 2, .accumulate = 3}).size() == 2);
}

TEST_CASE("learning rates follow the schedule") {
  const Setup setup;
  const auto m = setup.run({.steps = 5,
                            .batch = 2,
                            .learning_rate = 1e-3,
                            .schedule = qlora::Schedule::linear,
                            .warmup_steps = 1});
  REQUIRE(m[0].learning_rate == 0);
  REQUIRE(m[1].learning_rate == 1e-3);
  REQUIRE(m[4].learning_rate == 2.5e-4);
}

TEST_CASE("checkpointing changes memory, not the bits of the losses") {
  const Setup setup;
  const auto kept = setup.run({.steps = 4, .batch = 2, .learning_rate = 1e-2}, 0.1f);
  const auto again =
      setup.run({.steps = 4, .batch = 2, .learning_rate = 1e-2, .gradient_checkpoint = true}, 0.1f);
  for (std::size_t i = 0; i < 4; ++i) REQUIRE(kept[i].loss == again[i].loss);
}

TEST_CASE("a loss that is not finite stops the run with the last good parameters") {
  const Setup setup;
  auto model = setup.model();
  const auto start = model.parameters()[0]->value;
  qlora::Trainer trainer(model, setup.examples, {.steps = 9, .batch = 2, .learning_rate = 1e30});
  const auto text = test::message_of<qlora::NumericError>([&] { trainer.run(); });
  REQUIRE(test::contains(text, "expected a finite loss"));
  REQUIRE(trainer.good_steps() < 9);
  for (const auto* p : model.parameters()) REQUIRE(p->value.allFinite());
  REQUIRE(std::isfinite(qlora::mean_loss(model, setup.examples)));
}

TEST_CASE("a callback that says no cancels; senseless options and empty data are refused") {
  const Setup setup;
  auto model = setup.model();
  qlora::Trainer trainer(model, setup.examples, {.steps = 9, .batch = 2});
  REQUIRE_THROWS_AS(trainer.run([](const StepMetrics& m) { return m.step < 3; }), qlora::Cancelled);
  const std::vector<qlora::EncodedText> none;
  REQUIRE_THROWS_AS(qlora::Trainer<>(model, none, {}), qlora::FormatError);
  REQUIRE_THROWS_AS(qlora::Trainer<>(model, setup.examples, {.batch = 0}), qlora::FormatError);
  auto bare = test::load_model(setup.file);
  REQUIRE_THROWS_AS(qlora::Trainer<>(bare, setup.examples, {}), qlora::FormatError);
}

TEST_CASE("position t predicts t + 1, never across rows, and only what counts") {
  const std::vector<qlora::EncodedText> examples{{{5, 6, 7}, {0, 1, 0}}, {{8, 9}, {1, 1}}};
  const std::vector<Index> both{0, 1};
  const auto batch = qlora::make_batch(examples, both);
  REQUIRE(batch.ids == std::vector<qlora::Token>{5, 6, 7, 8, 9});
  REQUIRE(batch.targets ==
          std::vector<qlora::Token>{6, qlora::ignored, qlora::ignored, 9, qlora::ignored});
  REQUIRE(batch.layout.positions == std::vector<Index>{0, 1, 2, 0, 1});
  REQUIRE(batch.counted == 2);
}
