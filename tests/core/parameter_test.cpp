#include "qlora/core/parameter.hpp"

#include <memory>
#include <vector>

#include "qlora/optim/adam.hpp"
#include "qlora/optim/clip.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Parameter;
using qlora::ParameterList;
using qlora::RowMatrixXf;

namespace {

// A layer as a user writes one.
struct Layer {
  Parameter<float> weight{"weight", 2, 3};
  ParameterList<float> parameters() { return {&weight}; }
};

}  // namespace

TEST_CASE("a list follows its parameters when they move, with a layer or in a growing vector") {
  std::vector<Layer> layers(1);
  const ParameterList<float> list = layers[0].parameters();
  for (int i = 0; i < 9; ++i) layers.emplace_back();
  list[0].value().setConstant(3);
  list[0].grad().setConstant(4);
  REQUIRE(layers[0].weight.value.isConstant(3));
  REQUIRE(layers[0].weight.grad.isConstant(4));
  const Layer moved = std::move(layers[0]);
  list[0].value().setConstant(5);
  REQUIRE(moved.weight.value.isConstant(5));
  REQUIRE(list[0].name() == "weight");
}

TEST_CASE("an optimizer goes on with a list whose layer has moved, bit for bit") {
  Layer stays;
  auto goes = std::make_unique<Layer>();
  qlora::AdamW<> one({.learning_rate = 0.1}), two({.learning_rate = 0.1});
  const auto a = stays.parameters(), b = goes->parameters();
  for (std::uint64_t step = 0; step < 4; ++step) {
    a[0].grad() = b[0].grad() = test::normal_matrix(2, 3, step);
    one.step(a);
    two.step(b);
    goes = std::make_unique<Layer>(std::move(*goes));
  }
  REQUIRE(goes->weight.value == stays.weight.value);
  REQUIRE_FALSE(goes->weight.value.isZero(0));
}

TEST_CASE("a list whose layer is gone says so and touches nothing") {
  ParameterList<float> list;
  {
    Layer layer;
    list = layer.parameters();
  }
  REQUIRE_THROWS_WITH(list[0].value(), test::contains("gone with its layer"));
  REQUIRE_THROWS_AS(list[0].name(), qlora::Error);
  REQUIRE_THROWS_AS(qlora::zero_gradients(list), qlora::Error);
  qlora::AdamW<> optimizer;
  REQUIRE_THROWS_AS(optimizer.step(list), qlora::Error);
}

TEST_CASE("assigning takes the content; lists stay with the parameter that they were taken of") {
  Layer a, b;
  const auto of_a = a.parameters(), of_b = b.parameters();
  b.weight = Parameter<float>("other", 1, 4);
  REQUIRE(of_b[0].name() == "other");
  REQUIRE(of_b[0].value().cols() == 4);
  a.weight = b.weight;
  of_a[0].value().setConstant(2);
  REQUIRE(a.weight.value.isConstant(2));
  REQUIRE(b.weight.value.isZero(0));
  const Layer copy = a;
  of_a[0].value().setConstant(7);
  REQUIRE(copy.weight.value.isConstant(2));
}

TEST_CASE("borrowed memory is trained where it lies, to the bits of a parameter of one's own") {
  std::vector<float> memory(6, 1.f), gradient(6);
  Parameter<float> owned("p", 2, 3);
  owned.value.setConstant(1);
  const ParameterList<float> borrowed{{"p", {memory.data(), 2, 3}, {gradient.data(), 2, 3}}};
  const ParameterList<float> list{&owned};
  qlora::AdamW<> one({.learning_rate = 0.1}), two({.learning_rate = 0.1});
  for (std::uint64_t step = 0; step < 3; ++step) {
    owned.grad = borrowed[0].grad() = test::normal_matrix(2, 3, step);
    qlora::clip_gradients(list, 0.5);
    qlora::clip_gradients(borrowed, 0.5);
    one.step(list);
    two.step(borrowed);
  }
  REQUIRE(borrowed[0].value() == owned.value);
  REQUIRE(memory[5] == owned.value(1, 2));
  REQUIRE(memory[5] != 1.f);
  REQUIRE(qlora::parameter_count(borrowed) == 6);
  qlora::zero_gradients(borrowed);
  REQUIRE(gradient == std::vector<float>(6));
}

TEST_CASE("shapes that differ are refused, and so is one parameter twice, owned or borrowed") {
  RowMatrixXf value = RowMatrixXf::Ones(2, 3), other(3, 2);
  REQUIRE_THROWS_WITH((qlora::ParameterRef<float>("mine", value, other)),
                      test::contains("parameter 'mine': gradient: expected shape [2, 3]"));
  const ParameterList<float> list{{"mine", value, value}};
  REQUIRE_THROWS_AS(list[0].value() = other, qlora::ShapeError);
  REQUIRE(value.isConstant(1));
  Parameter<float> p("p", 2, 3);
  qlora::AdamW<> optimizer;
  REQUIRE_THROWS_WITH(optimizer.step(ParameterList<float>{&p, &p}), test::contains("twice"));
  REQUIRE_THROWS_WITH(optimizer.step(ParameterList<float>{&p, {"again", p.value, p.grad}}),
                      test::contains("twice"));
}
