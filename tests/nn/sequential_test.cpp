#include "qlora/nn/sequential.hpp"

#include <memory>
#include <vector>

#include "qlora/nn/activation.hpp"
#include "qlora/nn/cross_entropy.hpp"
#include "qlora/nn/dense_linear.hpp"
#include "qlora/nn/lora.hpp"
#include "qlora/optim/adam.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/gradient.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXd;
using qlora::RowMatrixXf;

namespace {

template <class T>
auto network(Index in, Index width, Index classes, std::uint64_t weights, float dropout) {
  const auto frozen = [&](Index rows, Index cols, std::uint64_t seed) {
    return qlora::quantize<qlora::formats::nf4_dq>(
        test::normal_matrix(rows, cols, weights + seed, 0.3));
  };
  using Lora = qlora::LoraLinear<qlora::QuantizedMatrix<qlora::formats::nf4_dq>, T>;
  return qlora::Sequential(
      Lora(frozen(width, in, 0), {.rank = 4, .dropout = dropout, .train_bias = true}),
      qlora::Gelu<T>(),
      Lora(frozen(width, width, 1), {.rank = 4, .dropout = dropout, .train_bias = true}),
      qlora::Relu<T>(), qlora::DenseLinear<T>(width, classes));
}

}  // namespace

TEST_CASE("gradients of the input and of all parameters agree with central differences") {
  auto net = network<double>(5, 7, 3, 1, 0.3f);
  net.layer<0>().b.value = test::normal_matrix<double>(7, 4, 8, 0.2);
  net.layer<2>().b.value = test::normal_matrix<double>(7, 4, 9, 0.2);
  RowMatrixXd x = test::normal_matrix<double>(6, 5, 2);
  const std::vector<qlora::Token> targets{0, 1, 2, 0, qlora::ignored, 1};
  const qlora::DropoutKey dropout{.training = true, .key = 5};
  const auto [logits, saved] = net.forward(x, dropout);
  const auto loss = qlora::logits_cross_entropy(logits, targets);
  const RowMatrixXd dx = net.backward(loss.gradient, saved);
  const auto again = [&] {
    return qlora::logits_cross_entropy(net.forward(x, dropout).out, targets).mean();
  };
  REQUIRE(test::gradient_error(x, dx, again) == "");
  REQUIRE(net.parameters().size() == 8);
  for (const auto& parameter : net.parameters()) {
    auto value = parameter.value();
    REQUIRE(test::gradient_error(value, RowMatrixXd(parameter.grad()), again) == "");
  }
}

TEST_CASE("layers of one shape start from different numbers and drop different inputs") {
  qlora::Sequential net(
      qlora::DenseLinear<>(8, 8), qlora::DenseLinear<>(8, 8),
      qlora::LoraLinear(qlora::RowMatrixXf(RowMatrixXf::Zero(8, 8)), {.rank = 2, .dropout = 0.5f}),
      qlora::LoraLinear(qlora::RowMatrixXf(RowMatrixXf::Zero(8, 8)), {.rank = 2, .dropout = 0.5f}));
  REQUIRE(net.layer<0>().weight.value != net.layer<1>().weight.value);
  REQUIRE(net.layer<2>().a.value != net.layer<3>().a.value);
  const auto saved = net.forward(RowMatrixXf::Ones(2, 8), {true, 3}).saved;
  REQUIRE(std::get<2>(saved.layers).kept.dropout.key != std::get<3>(saved.layers).kept.dropout.key);
}

TEST_CASE("a network without training drops nothing, and gives the same numbers for any key") {
  const auto net = network<float>(5, 7, 3, 1, 0.5f);
  const RowMatrixXf x = test::normal_matrix(6, 5, 2);
  REQUIRE(net.forward(x, {false, 1}).out == net.forward(x, {false, 2}).out);
  REQUIRE_THROWS_AS(net.forward(RowMatrixXf::Ones(6, 4)), qlora::ShapeError);
}

TEST_CASE("training adapters on a frozen quantized base reduces the loss") {
  test::law("of any network, on any data", [] {
    const auto width = *rc::gen::inRange<Index>(8, 24), classes = *rc::gen::inRange<Index>(2, 5);
    const auto seed = *rc::gen::inRange<std::uint64_t>(0, 1000);
    auto net = network<float>(6, width, classes, seed, 0);
    const RowMatrixXf x = test::normal_matrix(12, 6, seed + 7);
    std::vector<qlora::Token> targets;
    for (Index i = 0; i < 12; ++i) targets.push_back(static_cast<qlora::Token>(i % classes));
    const auto base = net.template layer<2>().base().codes();
    qlora::AdamW<> optimizer({.learning_rate = 1e-2});
    const auto parameters = net.parameters();
    std::vector<double> losses;
    for (int step = 0; step < 30; ++step) {
      const auto [logits, saved] = net.forward(x);
      const auto loss = qlora::logits_cross_entropy(logits, targets);
      losses.push_back(loss.mean());
      qlora::zero_gradients(parameters);
      (void)net.backward(loss.gradient, saved);
      optimizer.step(parameters);
    }
    RC_ASSERT(losses.back() < 0.9 * losses.front());
    RC_ASSERT(net.template layer<2>().base().codes() == base);
  });
}

TEST_CASE("a network that moves goes on with its list and its optimizer, bit for bit") {
  const auto train = [](bool moves) {
    auto net =
        std::make_unique<decltype(network<float>(5, 7, 3, 1, 0))>(network<float>(5, 7, 3, 1, 0.2f));
    const auto parameters = net->parameters();
    const RowMatrixXf x = test::normal_matrix(6, 5, 2);
    const std::vector<qlora::Token> targets{0, 1, 2, 0, 1, 2};
    qlora::AdamW<> optimizer({.learning_rate = 1e-2});
    for (std::uint64_t step = 0; step < 5; ++step) {
      const auto [logits, saved] = net->forward(x, {true, step});
      qlora::zero_gradients(parameters);
      (void)net->backward(qlora::logits_cross_entropy(logits, targets).gradient, saved);
      optimizer.step(parameters);
      if (moves) net = std::make_unique<std::decay_t<decltype(*net)>>(std::move(*net));
    }
    return RowMatrixXf(net->forward(x).out);
  };
  REQUIRE(train(true) == train(false));
}
