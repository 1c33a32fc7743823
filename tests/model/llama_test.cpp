#include "qlora/model/llama.hpp"

#include <array>
#include <thread>
#include <vector>

#include "qlora/quant/quantize.hpp"
#include "qlora/quant/visit_format.hpp"
#include "support/catch.hpp"
#include "support/gradient.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrix;
using qlora::RowMatrixXd;

namespace {

// A model of two layers in double, its projections packed.
qlora::Llama<double> small_model() {
  qlora::Llama<double> model;
  model.config = {.vocabulary = 13,
                  .width = 8,
                  .hidden = 10,
                  .layers = 2,
                  .heads = 2,
                  .kv_heads = 1,
                  .context = 32};
  model.embedding = qlora::AnyLinear<double>(test::normal_matrix<double>(13, 8, 1));
  model.final_norm = {test::normal_matrix<double>(1, 8, 2).row(0).transpose(), 1e-5};
  std::uint64_t seed = 10;
  for (int layer = 0; layer < 2; ++layer) {
    auto& block = model.blocks.emplace_back();
    block.shape = model.config.attention();
    block.attention_norm = {test::normal_matrix<double>(1, 8, seed++).row(0).transpose(), 1e-5};
    block.feed_forward_norm = {test::normal_matrix<double>(1, 8, seed++).row(0).transpose(), 1e-5};
    const Index rows[] = {8, 4, 4, 8, 10, 10, 8};
    for (int p = 0; p < qlora::projection_count; ++p) {
      const auto dense = test::normal_matrix(rows[p], p == qlora::down_proj ? 10 : 8, seed++, 0.4);
      block.projections[static_cast<std::size_t>(p)] =
          qlora::LoraLinear<qlora::AnyLinear<double>, double>(
              qlora::AnyLinear<double>(qlora::quantize<qlora::formats::nf4_dq>(dense)),
              {.rank = 0});
    }
  }
  model.finish();
  return model;
}

const std::vector<qlora::Token> ids{3, 1, 4, 1, 5, 9, 2, 6}, targets{1, 4, 1, -1, 9, 2, 6, -1};

qlora::BatchLayout two_sequences() {
  qlora::BatchLayout layout;
  layout.sequences = {{0, 4, 0, 0}, {4, 4, 4, 0}};
  layout.positions = {0, 1, 2, 3, 0, 1, 2, 3};
  return layout;
}

}  // namespace

TEST_CASE(
    "the gradient of every adapter agrees with central differences, with and without checkpointing "
    "and dropout") {
  for (const float dropout : {0.f, 0.3f}) {
    auto model = small_model();
    model.adapt({.rank = 2, .alpha = 4, .dropout = dropout, .seed = 3});
    for (const auto& p : model.parameters())  // B starts at zero, where A has no gradient
      p.value() =
          test::normal_matrix<double>(p.value().rows(), p.value().cols(),
                                      77 + static_cast<std::uint64_t>(p.value().rows()), 0.3);
    const auto layout = two_sequences();
    const qlora::LossOptions options{.scale = 0.5f, .dropout = {dropout > 0, 5}};
    const auto loss = [&] { return 0.5 * model.loss(ids, targets, layout, options).sum; };
    for (const bool checkpoint : {false, true}) {
      auto with = options;
      with.backward = true;
      with.gradient_checkpoint = checkpoint;
      qlora::zero_gradients(model.parameters());
      REQUIRE(model.loss(ids, targets, layout, with).counted == 6);
      REQUIRE(model.parameters().size() == 28);
      for (const auto& p : model.parameters()) {
        INFO(p.name() << (checkpoint ? ", checkpointing" : ""));
        auto value = p.value();
        REQUIRE(test::gradient_error(value, RowMatrixXd(p.grad()), loss) == "");
      }
    }
  }
}

TEST_CASE("a constant model gives the loss too, to the bit, in several threads at a time") {
  auto model = small_model();
  model.adapt({.rank = 2, .alpha = 4, .dropout = 0.5f, .seed = 3});
  for (const auto& p : model.parameters())
    p.value() = test::normal_matrix<double>(p.value().rows(), p.value().cols(), 8, 0.3);
  const double expected = model.loss(ids, targets, two_sequences()).sum;
  const auto& constant = model;
  REQUIRE(constant.loss(ids, targets, two_sequences()).sum == expected);
  std::array<double, 3> sums{};
  std::vector<std::thread> threads;
  for (double& sum : sums)
    threads.emplace_back([&] {
      qlora::Llama<double>::Workspace workspace;
      for (int i = 0; i < 3; ++i) sum = constant.loss(ids, targets, two_sequences(), workspace).sum;
    });
  for (auto& thread : threads) thread.join();
  REQUIRE(sums == std::array{expected, expected, expected});
}

TEST_CASE("a model that moves takes its parameters along") {
  auto model = small_model();
  model.adapt({.rank = 2, .alpha = 4, .seed = 3});
  const auto parameters = model.parameters();
  auto moved = std::move(model);
  parameters[1].value().setConstant(2);
  REQUIRE(moved.blocks[0].projections[0].b.value.isConstant(2));
}

TEST_CASE("rows of a batch do not see each other") {
  auto model = small_model();
  const auto both = model.loss(ids, targets, two_sequences());
  qlora::BatchLayout one = qlora::uniform_layout(1, 4);
  const std::span<const qlora::Token> all_ids(ids), all_targets(targets);
  const auto first = model.loss(all_ids.first(4), all_targets.first(4), one);
  const auto second = model.loss(all_ids.last(4), all_targets.last(4), one);
  REQUIRE(std::abs(both.sum - first.sum - second.sum) < 1e-12);
  REQUIRE(both.counted == first.counted + second.counted);
}

TEST_CASE("tokens fed one by one through the cache give the logits of the whole sequence") {
  auto model = small_model();
  model.adapt({.rank = 2, .alpha = 4, .seed = 3});
  for (const auto& p : model.parameters())
    p.value() = test::normal_matrix<double>(p.value().rows(), p.value().cols(), 8, 0.3);
  const RowMatrixXd whole = model.logits(ids);
  auto cache = model.make_cache(8);
  for (Index i = 0; i < 8; ++i) {
    const auto step = model.next_logits(std::span(&ids[static_cast<std::size_t>(i)], 1), cache);
    REQUIRE((step.transpose() - whole.row(i)).norm() < 1e-12);
  }
  REQUIRE_THROWS_AS(model.next_logits(std::span(ids).first(1), cache), qlora::ShapeError);
}

TEST_CASE("adapters are named as in PEFT; attention targets leave the feed-forward alone") {
  auto model = small_model();
  model.adapt({.rank = 2}, qlora::target_modules("attention"));
  REQUIRE(model.parameters().size() == 16);
  REQUIRE(model.parameters()[0].name() == "model.layers.0.self_attn.q_proj.lora_A.weight");
  REQUIRE(model.parameters()[15].name() == "model.layers.1.self_attn.o_proj.lora_B.weight");
  model.adapt({.rank = 2}, {"q_proj", "v_proj"});
  REQUIRE(model.parameters().size() == 8);
  REQUIRE_THROWS_AS(model.adapt({.rank = 2}, {"lm_head"}), qlora::OptionError);
  REQUIRE_THROWS_AS(qlora::target_modules("some"), qlora::OptionError);
  model.adapt({.rank = 3});
  REQUIRE(qlora::parameter_count(model.parameters()) == 2 * 3 * (16 + 12 + 12 + 16 + 18 + 18 + 18));
  REQUIRE(model.parameters()[0].value() !=
          model.parameters()[14].value());  // each layer starts from its own numbers
}

TEST_CASE("modules named in full get adapters of their own, and an unknown name changes nothing") {
  auto model = small_model();
  model.adapt_each({{"model.layers.1.mlp.up_proj", {.rank = 3, .alpha = 6}},
                    {"model.layers.0.self_attn.q_proj", {.rank = 2, .alpha = 1}}});
  REQUIRE(model.parameters().size() == 4);
  REQUIRE(model.projection("model.layers.1.mlp.up_proj").rank() == 3);
  REQUIRE(model.projection("model.layers.1.mlp.up_proj").scaling() == 2);
  REQUIRE(model.parameters()[0].name() == "model.layers.0.self_attn.q_proj.lora_A.weight");
  for (const char* name : {"model.layers.2.mlp.up_proj", "up_proj", "lm_head"}) {
    const std::map<std::string, qlora::LoraOptions> modules{{name, {.rank = 2}}};
    REQUIRE_THROWS_AS(model.adapt_each(modules), qlora::OptionError);
    REQUIRE_THROWS_AS(model.projection(name), qlora::OptionError);
  }
  REQUIRE(model.parameters().size() == 4);
}

TEST_CASE("a sequence longer than the context and ids outside the vocabulary are refused") {
  auto model = small_model();
  const std::vector<qlora::Token> many(33, 1);
  const auto text = test::message_of<qlora::ShapeError>(
      [&] { (void)model.loss(many, many, qlora::uniform_layout(1, 33)); });
  REQUIRE(test::contains(text, "context is 32"));
  REQUIRE_THROWS_AS(model.make_cache(33), qlora::ShapeError);
  const std::vector<qlora::Token> outside{13};
  REQUIRE_THROWS_AS(model.logits(outside), qlora::ShapeError);
}
