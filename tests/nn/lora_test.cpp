#include "qlora/nn/lora.hpp"

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/formats.hpp"
#include "support/gradient.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXd;
using qlora::RowMatrixXf;

namespace {

constexpr Index tokens = 5, out = 7, in = 12, rank = 3;

template <class Base>
void gradients_are_right(Base base, float dropout) {
  qlora::LoraLinear<Base, double> layer(std::move(base),
                                        {.rank = rank, .alpha = 6, .dropout = dropout, .seed = 5});
  layer.b.value = test::normal_matrix<double>(out, rank, 1);
  RowMatrixXd x = test::normal_matrix<double>(tokens, in, 2);
  const RowMatrixXd weight =
      test::normal_matrix<double>(tokens, out, 3);  // loss = sum of weight * y
  const auto loss = [&] { return layer.forward(x, {true, 17}).out.cwiseProduct(weight).sum(); };
  const auto [y, saved] = layer.forward(x, {true, 17});
  layer.a.grad.setZero();
  layer.b.grad.setZero();
  const RowMatrixXd dx = layer.backward(weight, saved);
  REQUIRE(test::gradient_error(x, dx, loss) == "");
  REQUIRE(test::gradient_error(layer.a.value, layer.a.grad, loss) == "");
  REQUIRE(test::gradient_error(layer.b.value, layer.b.grad, loss) == "");
}

}  // namespace

TEST_CASE("gradients of x, A and B agree with central differences, on packed and dense bases") {
  for (const float dropout : {0.f, 0.4f}) {
    gradients_are_right(qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(out, in, 4)),
                        dropout);
    gradients_are_right(qlora::quantize<test::Tern32>(test::normal_matrix(out, in, 4)), dropout);
    gradients_are_right(RowMatrixXd(test::normal_matrix<double>(out, in, 4)), dropout);
    gradients_are_right(qlora::AnyLinear<double>(
                            qlora::quantize<qlora::formats::nf4>(test::normal_matrix(out, in, 4))),
                        dropout);
  }
}

TEST_CASE("backward adds to the gradients") {
  qlora::LoraLinear<RowMatrixXd, double> layer(test::normal_matrix<double>(out, in, 4),
                                               {.rank = rank});
  const RowMatrixXd x = test::normal_matrix<double>(tokens, in, 2),
                    dy = test::normal_matrix<double>(tokens, out, 3);
  const auto saved = layer.forward(x).saved;
  (void)layer.backward(dy, saved);
  const RowMatrixXd once = layer.b.grad;
  (void)layer.backward(dy, saved);
  REQUIRE((layer.b.grad - 2 * once).norm() <= 1e-12 * once.norm());
}

TEST_CASE("backward drops what forward dropped, without being told again") {
  qlora::LoraLinear<RowMatrixXd, double> layer(test::normal_matrix<double>(out, in, 4),
                                               {.rank = rank, .dropout = 0.5f, .seed = 5});
  layer.b.value = test::normal_matrix<double>(out, rank, 1);
  const RowMatrixXd x = test::normal_matrix<double>(tokens, in, 2),
                    dy = test::normal_matrix<double>(tokens, out, 3);
  // The formula, with the dropped input made here.
  RowMatrixXd dropped;
  qlora::apply_dropout<double>(x, 0.5f, 17, dropped);
  const RowMatrixXd expected = layer.scaling() * (dy * layer.b.value).transpose() * dropped,
                    without = layer.scaling() * (dy * layer.b.value).transpose() * x;
  (void)layer.backward(dy, layer.forward(x, {.training = true, .key = 17}).saved);
  REQUIRE((layer.a.grad - expected).norm() <= 1e-12 * expected.norm());
  layer.a.grad.setZero();
  (void)layer.backward(dy, layer.forward(x).saved);
  REQUIRE((layer.a.grad - without).norm() <= 1e-12 * without.norm());
}

TEST_CASE("what belongs to another input or another rank is refused in backward") {
  qlora::LoraLinear<RowMatrixXd, double> layer(test::normal_matrix<double>(out, in, 4),
                                               {.rank = rank});
  const auto saved = layer.forward(test::normal_matrix<double>(tokens, in, 2)).saved;
  REQUIRE_THROWS_AS(layer.backward(RowMatrixXd::Ones(tokens + 1, out), saved), qlora::ShapeError);
  layer.adapt({.rank = rank + 1});
  REQUIRE_THROWS_AS(layer.backward(RowMatrixXd::Ones(tokens, out), saved), qlora::ShapeError);
}

TEST_CASE("the layer is x Wᵀ + s x Aᵀ Bᵀ with s = alpha / rank, and starts at the base") {
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(out, in, 4));
  const RowMatrixXf dense = qlora::dequantize(w), x = test::normal_matrix(tokens, in, 2);
  qlora::LoraLinear layer(w, {.rank = rank, .alpha = 12});
  REQUIRE((layer.forward(x).out - x * dense.transpose()).norm() < 1e-5f);
  layer.b.value = test::normal_matrix(out, rank, 1);
  const RowMatrixXf expected =
      x * dense.transpose() + 4.f * x * layer.a.value.transpose() * layer.b.value.transpose();
  REQUIRE((layer.forward(x).out - expected).norm() < 1e-5f * expected.norm());
}

TEST_CASE("A starts uniform in 1 / sqrt(in) and depends on the seed, B starts at zero") {
  qlora::LoraLinear<RowMatrixXf> a(RowMatrixXf::Zero(64, 400), {.rank = 16, .seed = 1});
  qlora::LoraLinear<RowMatrixXf> again(RowMatrixXf::Zero(64, 400), {.rank = 16, .seed = 1});
  qlora::LoraLinear<RowMatrixXf> other(RowMatrixXf::Zero(64, 400), {.rank = 16, .seed = 2});
  REQUIRE(a.a.value == again.a.value);
  REQUIRE(a.a.value != other.a.value);
  REQUIRE(a.b.value.isZero(0));
  const float bound = 1 / std::sqrt(400.f);
  REQUIRE(a.a.value.cwiseAbs().maxCoeff() <= bound);
  // The variance of U(-b, b) is b² / 3; 6,400 numbers estimate it within 5 %.
  const float variance = a.a.value.squaredNorm() / static_cast<float>(a.a.value.size());
  REQUIRE(std::abs(variance / (bound * bound / 3) - 1) < 0.05f);
}

TEST_CASE("dropout keeps the mean, drops its share, and depends on its key alone") {
  const RowMatrixXf x = RowMatrixXf::Ones(200, 100);
  RowMatrixXf a, b, other;
  qlora::apply_dropout<float>(x, 0.3f, 11, a);
  qlora::apply_dropout<float>(x, 0.3f, 11, b);
  qlora::apply_dropout<float>(x, 0.3f, 12, other);
  REQUIRE(a == b);
  REQUIRE(a != other);
  const auto dropped = static_cast<double>((a.array() == 0).count());
  REQUIRE(std::abs(dropped / 20000 - 0.3) < 0.015);  // 4.6 standard deviations
  REQUIRE(a.maxCoeff() == 1 / (1 - 0.3f));
}

TEST_CASE("a rank of 0 leaves the base alone; senseless options are refused") {
  qlora::LoraLinear<RowMatrixXf> layer(test::normal_matrix(out, in, 1), {.rank = 0});
  REQUIRE(layer.parameters().empty());
  const RowMatrixXf x = test::normal_matrix(2, in, 2);
  REQUIRE((layer.forward(x).out - x * layer.base().transpose()).norm() < 1e-5f);
  REQUIRE_THROWS_AS(layer.adapt({.rank = -1}), qlora::OptionError);
  REQUIRE_THROWS_AS(layer.adapt({.dropout = 1.f}), qlora::OptionError);
}

TEST_CASE("a rank-stabilized adapter is scaled by alpha / sqrt(rank), in the layer as in options") {
  const RowMatrixXf w = test::normal_matrix(out, in, 4), x = test::normal_matrix(tokens, in, 2);
  qlora::LoraLinear<RowMatrixXf> layer(w, {.rank = 4, .alpha = 12, .rank_stabilized = true});
  layer.b.value = test::normal_matrix(out, 4, 1);
  const RowMatrixXf expected =
      x * w.transpose() + 6.f * x * layer.a.value.transpose() * layer.b.value.transpose();
  REQUIRE((layer.forward(x).out - expected).norm() < 1e-5f * expected.norm());
  REQUIRE(layer.scaling() == 6.f);
}

TEST_CASE(
    "gradients with a trained bias agree with central differences, with and without adapter") {
  for (const Index r : {Index(0), rank}) {
    qlora::LoraLinear<RowMatrixXd, double> layer(
        test::normal_matrix<double>(out, in, 4),
        {.rank = r, .dropout = 0.3f, .seed = 5, .train_bias = true});
    layer.b.value = test::normal_matrix<double>(out, r, 1);
    layer.bias.value = test::normal_matrix<double>(1, out, 6);
    RowMatrixXd x = test::normal_matrix<double>(tokens, in, 2);
    const RowMatrixXd weight = test::normal_matrix<double>(tokens, out, 3);
    const auto loss = [&] { return layer.forward(x, {true, 17}).out.cwiseProduct(weight).sum(); };
    const RowMatrixXd dx = layer.backward(weight, layer.forward(x, {true, 17}).saved);
    REQUIRE(layer.parameters().size() == (r > 0 ? 3 : 1));
    REQUIRE(test::gradient_error(x, dx, loss) == "");
    REQUIRE(test::gradient_error(layer.a.value, layer.a.grad, loss) == "");
    REQUIRE(test::gradient_error(layer.b.value, layer.b.grad, loss) == "");
    REQUIRE(test::gradient_error(layer.bias.value, layer.bias.grad, loss) == "");
  }
}

TEST_CASE("a bias that is set is added and frozen; one that is trained starts at zero") {
  const RowMatrixXf w = test::normal_matrix(out, in, 4), x = test::normal_matrix(tokens, in, 2);
  qlora::LoraLinear<RowMatrixXf> layer(w, {.rank = rank});
  const RowMatrixXf without = layer.forward(x).out;
  const qlora::ColumnVector<float> bias = test::normal_matrix(1, out, 6).row(0).transpose();
  layer.set_bias(bias);
  const RowMatrixXf expected = without.rowwise() + bias.transpose();
  REQUIRE((layer.forward(x).out - expected).norm() < 1e-6f * expected.norm());
  REQUIRE(layer.parameters().size() == 2);
  (void)layer.backward(RowMatrixXf::Ones(tokens, out), layer.forward(x).saved);
  REQUIRE(layer.bias.grad.isZero(0));
  layer.adapt({.rank = rank, .train_bias = true});
  REQUIRE(layer.bias.value == bias.transpose());
  qlora::LoraLinear<RowMatrixXf> trained(w, {.rank = rank, .train_bias = true});
  REQUIRE(trained.bias.value.isZero(0));
  REQUIRE(trained.parameters().size() == 3);
  REQUIRE_THROWS_AS(layer.set_bias(qlora::ColumnVector<float>::Ones(out + 1)), qlora::ShapeError);
}

TEST_CASE("layers of one shape without seeds start and drop differently, the same layer alike") {
  const auto layer = [](std::uint64_t weights) {
    qlora::LoraLinear result(
        qlora::quantize<qlora::formats::nf4>(test::normal_matrix(out, in, weights)),
        {.rank = rank, .dropout = 0.5f});
    result.b.value.setOnes();
    return result;
  };
  const auto one = layer(1), again = layer(1), other = layer(2);
  REQUIRE(one.a.value == again.a.value);
  REQUIRE(one.a.value != other.a.value);
  const RowMatrixXf x = RowMatrixXf::Ones(tokens, in);
  const auto dropped = [&](const auto& of) {  // the product with A, which dropout changes
    return of.forward(x, {true, 3}).saved.kept.low;
  };
  REQUIRE(dropped(one) == dropped(again));
  REQUIRE(one.forward(x, {true, 3}).saved.kept.dropout.key !=
          other.forward(x, {true, 3}).saved.kept.dropout.key);
}

TEST_CASE("a list of parameters follows a layer that moves") {
  std::vector<qlora::LoraLinear<RowMatrixXf>> layers;
  layers.emplace_back(test::normal_matrix(out, in, 1), qlora::LoraOptions{.rank = rank});
  const auto list = layers[0].parameters();
  for (std::uint64_t i = 2; i < 9; ++i)
    layers.emplace_back(test::normal_matrix(out, in, i), qlora::LoraOptions{.rank = rank});
  list[1].value().setConstant(2);
  REQUIRE(layers[0].b.value.isConstant(2));
}
