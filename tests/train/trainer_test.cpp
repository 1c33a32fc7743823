#include "qlora/train/trainer.hpp"

#include "qlora/model/gguf_source.hpp"
#include "qlora/optim/schedule_free.hpp"
#include "qlora/text/dataset.hpp"
#include "support/catch.hpp"
#include "support/faulty_store.hpp"
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
  const qlora::RowMatrixXf start = model.parameters()[0].value();
  qlora::Trainer trainer(model, setup.examples, {.steps = 9, .batch = 2, .learning_rate = 1e30});
  const auto text = test::message_of<qlora::NumericError>([&] { trainer.run(); });
  REQUIRE(test::contains(text, "expected a finite loss"));
  REQUIRE(trainer.good_steps() < 9);
  for (const auto& p : model.parameters()) REQUIRE(p.value().allFinite());
  REQUIRE(std::isfinite(qlora::mean_loss(model, setup.examples)));
}

TEST_CASE("a callback that says no cancels; senseless options and empty data are refused") {
  const Setup setup;
  auto model = setup.model();
  qlora::Trainer trainer(model, setup.examples, {.steps = 9, .batch = 2});
  REQUIRE_THROWS_AS(trainer.run([](const StepMetrics& m) { return m.done < 3; }), qlora::Cancelled);
  const std::vector<qlora::EncodedText> none;
  REQUIRE_THROWS_AS(qlora::Trainer<>(model, none, {}), qlora::OptionError);
  REQUIRE_THROWS_AS(qlora::Trainer<>(model, setup.examples, {.batch = 0}), qlora::OptionError);
  auto bare = test::load_model(setup.file);
  REQUIRE_THROWS_AS(qlora::Trainer<>(bare, setup.examples, {}), qlora::OptionError);
}

TEST_CASE(
    "a given optimizer keeps its own rate, times the schedule's factor, and its weight decay") {
  const Setup setup;
  auto model = setup.model();
  const qlora::RowMatrixXf start = model.parameters()[0].value();
  qlora::Trainer trainer(
      model, setup.examples,
      {.steps = 4, .batch = 2, .learning_rate = 0.5, .schedule = qlora::Schedule::linear},
      qlora::AnyOptimizer<>(qlora::AdamW<>({.learning_rate = 1e-3, .weight_decay = 10})));
  std::vector<double> rates;
  qlora::RowMatrixXf first;
  trainer.run([&](const StepMetrics& m) {
    if (rates.empty()) first = model.parameters()[0].value();
    rates.push_back(m.learning_rate);
    return true;
  });
  REQUIRE(rates == std::vector<double>{1e-3, 1e-3 * 0.75, 5e-4, 2.5e-4});
  // A has no gradient while B is zero: it shrinks by 1 - 1e-3 * 10.
  REQUIRE((first - 0.99f * start).norm() < 1e-6f * start.norm());
}

namespace {

// Training of one parameter by a quadratic loss, whose gradient depends on the point. What the loss
// was asked for is kept; it may give NaN in the call with number `nan_at`.
struct Quadratic {
  qlora::Parameter<float> p{"p", 1, 50};
  std::vector<qlora::EncodedText> examples{{{5, 6}, {1, 1}}};
  std::vector<qlora::RowMatrixXf> points;
  int nan_at = -1;

  Quadratic() { reset(p); }
  static void reset(qlora::Parameter<float>& p) { p.value = test::normal_matrix(1, 50, 1); }
  static void gradient(qlora::Parameter<float>& p) {
    p.grad = p.value - test::normal_matrix(1, 50, 2);
  }

  qlora::Trainer<> trainer(Index steps, qlora::AnyOptimizer<> optimizer) {
    const auto loss = [this](const qlora::Batch&, const qlora::LossOptions& options) {
      const bool bad = static_cast<int>(points.size()) == nan_at;
      points.push_back(p.value);
      if (options.backward) gradient(p);
      return qlora::CrossEntropy{bad ? std::nan("") : 1.0, 1};
    };
    return {{&p}, loss, examples, {.steps = steps, .max_gradient_norm = 0}, std::move(optimizer)};
  }

  // Where an optimizer stands after updates without a trainer: iterate and average.
  static std::pair<qlora::RowMatrixXf, qlora::RowMatrixXf> by_hand(int updates) {
    qlora::Parameter<float> p("p", 1, 50);
    reset(p);
    const qlora::ParameterList<float> list{&p};
    qlora::ScheduleFreeAdamW<> optimizer({.learning_rate = 0.01});
    for (int step = 0; step < updates; ++step) {
      gradient(p);
      optimizer.step(list);
    }
    return {p.value, optimizer.average(list)[0]};
  }
};

qlora::AnyOptimizer<> schedule_free() {
  return qlora::AnyOptimizer<>(qlora::ScheduleFreeAdamW<>({.learning_rate = 0.01}));
}

}  // namespace

TEST_CASE("a schedule-free run ends with the average, and a second one goes on from the iterate") {
  Quadratic setup;
  auto trainer = setup.trainer(3, schedule_free());
  trainer.run();
  REQUIRE(setup.p.value == Quadratic::by_hand(3).second);
  REQUIRE(setup.points.back() == setup.p.value);  // the last update is tried where it is saved
  trainer.run();
  REQUIRE(setup.p.value == Quadratic::by_hand(6).second);
  for (int step = 0; step < 3; ++step)
    REQUIRE(setup.points[static_cast<std::size_t>(4 + step)] == Quadratic::by_hand(3 + step).first);
  REQUIRE(trainer.good_steps() == 3);
}

TEST_CASE("a stopped run holds the average as well, and evaluating half-way changes no bit") {
  Quadratic setup;
  auto trainer = setup.trainer(9, schedule_free());
  const auto evaluating = [&](const StepMetrics& m) {
    trainer.use_average();
    trainer.use_average();
    REQUIRE(setup.p.value == Quadratic::by_hand(static_cast<int>(m.done)).second);
    if (m.done % 2 == 0) trainer.use_iterate();
    return m.done < 5;
  };
  REQUIRE_THROWS_AS(trainer.run(evaluating), qlora::Cancelled);
  REQUIRE(setup.p.value == Quadratic::by_hand(5).second);
  REQUIRE(trainer.good_steps() == 5);
}

TEST_CASE("a failed run gives back the average of the last good step, and can't go on") {
  Quadratic setup;
  setup.nan_at = 4;  // at the fifth step, before its update
  auto trainer = setup.trainer(9, schedule_free());
  REQUIRE_THROWS_AS(trainer.run(), qlora::NumericError);
  REQUIRE(trainer.good_steps() == 3);
  REQUIRE(setup.p.value == Quadratic::by_hand(3).second);
  REQUIRE_THROWS_WITH(trainer.run(), test::contains("an earlier run failed"));
}

TEST_CASE("the last update is checked: its loss, and that its numbers are of a sensible size") {
  Quadratic setup;
  setup.nan_at = 2;  // after two steps
  const auto adamw = [](double rate) {
    return qlora::AnyOptimizer<>(qlora::AdamW<>({.learning_rate = rate}));
  };
  auto trainer = setup.trainer(2, adamw(0.01));
  REQUIRE_THROWS_WITH(trainer.run(), test::contains("step 2: expected a finite loss after"));
  REQUIRE(trainer.good_steps() == 1);
  REQUIRE(setup.p.value == setup.points[1]);

  for (const double rate : {1e30, 1e300}) {  // large, and infinite
    Quadratic one;
    auto absurd = one.trainer(1, adamw(rate));
    REQUIRE_THROWS_WITH(absurd.run(), test::contains("step 1: ") && test::contains("sensible"));
    REQUIRE(absurd.good_steps() == 0);
    REQUIRE(one.p.value == one.points[0]);
  }
}

TEST_CASE("what the loss or the report throws ends a run with what can be saved") {
  for (const bool in_report : {false, true}) {
    Quadratic setup;
    const auto loss = [&](const qlora::Batch&, const qlora::LossOptions&) {
      if (!in_report && setup.points.size() == 3) throw qlora::DeviceError("gone");
      setup.points.push_back(setup.p.value);
      Quadratic::gradient(setup.p);
      return qlora::CrossEntropy{1.0, 1};
    };
    qlora::Trainer<> trainer({&setup.p}, loss, setup.examples, {.steps = 9, .max_gradient_norm = 0},
                             schedule_free());
    const auto report = [&](const StepMetrics& m) {
      if (in_report && m.done == 3) throw qlora::DeviceError("gone");
      return true;
    };
    REQUIRE_THROWS_AS(trainer.run(report), qlora::DeviceError);
    REQUIRE(trainer.good_steps() == 2);
    REQUIRE(setup.p.value == Quadratic::by_hand(2).second);
    REQUIRE_THROWS_WITH(trainer.run(), test::contains("an earlier run failed"));
  }
}

TEST_CASE("what the optimizer's memory throws keeps its kind and gets its step") {
  Quadratic setup;
  setup.p = qlora::Parameter<float>("p", 1, 50);
  test::FaultyPager pager({.budget = 65536, .extent_bytes = 65536});
  auto trainer = setup.trainer(
      2, qlora::AnyOptimizer<>(
             qlora::AdamW<qlora::NumberState<float>, qlora::Paged<test::FaultyPager>>({}, pager)));
  pager.fill_up(true);
  REQUIRE_THROWS_WITH(trainer.run(), test::contains("step 1: ") && test::contains("reserve"));
  REQUIRE_THROWS_AS(
      setup
          .trainer(2, qlora::AnyOptimizer<>(
                          qlora::AdamW<qlora::NumberState<float>, qlora::Paged<test::FaultyPager>>(
                              {}, pager)))
          .run(),
      qlora::IoError);
}

TEST_CASE("examples without a target, and numbers that are none, are refused by name") {
  Quadratic setup;
  const auto make = [&](const qlora::TrainOptions& options, double rate = 1e-3) {
    return qlora::Trainer<>({&setup.p}, {}, setup.examples, options,
                            qlora::AnyOptimizer<>(qlora::AdamW<>({.learning_rate = rate})));
  };
  const double nan = std::nan("");
  REQUIRE_THROWS_AS(make({}, nan), qlora::OptionError);
  REQUIRE_THROWS_AS(make({}, -1), qlora::OptionError);
  REQUIRE_THROWS_AS(make({.max_gradient_norm = nan}), qlora::OptionError);
  REQUIRE_THROWS_AS(make({.max_gradient_value = nan}), qlora::OptionError);
  REQUIRE_THROWS_AS(make({.warmup_steps = -1}), qlora::OptionError);
  REQUIRE_THROWS_AS(make({.accumulate = 65537}), qlora::OptionError);
  for (const qlora::EncodedText& bad :
       {qlora::EncodedText{{5, 6}, {1, 0}}, qlora::EncodedText{{5}, {1}}, qlora::EncodedText{}}) {
    setup.examples.push_back(bad);
    REQUIRE_THROWS_WITH(make({}), test::contains("example 1: expected a target"));
    setup.examples.pop_back();
  }
  setup.examples.push_back({{5, 6}, {1}});
  REQUIRE_THROWS_WITH(make({}), test::contains("example 1: expected a mark for each"));
  const Setup real;
  auto model = real.model();
  REQUIRE_THROWS_AS(qlora::mean_loss(model, real.examples, 0), qlora::OptionError);
}
