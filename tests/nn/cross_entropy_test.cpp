#include "qlora/nn/cross_entropy.hpp"

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient.hpp"
#include "support/memory.hpp"
#include "support/numbers.hpp"
#include "support/sanitized.hpp"

using qlora::Index;
using qlora::RowMatrixXd;
using qlora::RowMatrixXf;

TEST_CASE("the loss is the summed negative log likelihood of the counted targets") {
  const RowMatrixXd hidden = test::normal_matrix<double>(130, 6, 1),
                    head = test::normal_matrix<double>(11, 6, 2);
  std::vector<qlora::Token> targets;
  for (int i = 0; i < 130; ++i) targets.push_back(i % 3 == 0 ? qlora::ignored : i % 11);
  double expected = 0;
  Index counted = 0;
  for (Index i = 0; i < 130; ++i) {
    const auto target = targets[static_cast<std::size_t>(i)];
    if (target == qlora::ignored) continue;
    const Eigen::VectorXd logits = head * hidden.row(i).transpose();
    expected -= std::log(std::exp(logits(target)) / logits.array().exp().sum());
    ++counted;
  }
  const auto loss = qlora::cross_entropy<double>(hidden, head, targets, 1.0, nullptr);
  REQUIRE(loss.counted == counted);
  REQUIRE(std::abs(loss.sum - expected) < 1e-10);
}

TEST_CASE("the gradient agrees with central differences and is zero where nothing counts") {
  RowMatrixXd hidden = test::normal_matrix<double>(7, 4, 1), dhidden(7, 4);
  const RowMatrixXd head = test::normal_matrix<double>(9, 4, 2);
  const std::vector<qlora::Token> targets{0, 8, qlora::ignored, 3, 3, qlora::ignored, 1};
  (void)qlora::cross_entropy<double>(hidden, head, targets, 0.25, &dhidden);
  REQUIRE(test::gradient_error(hidden, dhidden, [&] {
            return 0.25 * qlora::cross_entropy<double>(hidden, head, targets, 0.25, nullptr).sum;
          }) == "");
  REQUIRE(dhidden.row(2).isZero(0));
  REQUIRE(dhidden.row(5).isZero(0));
}

TEST_CASE("a head that is trained gets the gradients of its weight and its bias, chunk by chunk") {
  // 70 positions are two chunks.
  RowMatrixXd hidden = test::normal_matrix<double>(70, 3, 1), dhidden(70, 3), same(70, 3);
  qlora::DenseLinear<double> head(3, 5);
  std::vector<qlora::Token> targets;
  for (int i = 0; i < 70; ++i) targets.push_back(i % 7 == 0 ? qlora::ignored : i % 5);
  const auto loss = [&] {
    return 0.25 * qlora::cross_entropy<double>(hidden, head, targets, 0.25, nullptr).sum;
  };
  (void)qlora::cross_entropy<double>(hidden, head, targets, 0.25, &dhidden);
  REQUIRE(test::gradient_error(hidden, dhidden, loss) == "");
  REQUIRE(test::gradient_error(head.weight.value, head.weight.grad, loss) == "");
  REQUIRE(test::gradient_error(head.bias.value, head.bias.grad, loss) == "");
  // Without a bias it is a frozen head of the same weights.
  head.bias = {};
  const auto frozen = qlora::cross_entropy<double>(hidden, head.weight.value, targets, 0.25, &same);
  const auto trained = qlora::cross_entropy<double>(hidden, head, targets, 0.25, &dhidden);
  REQUIRE(trained.sum == frozen.sum);
  REQUIRE(dhidden == same);
}

TEST_CASE(
    "the loss of whole logits is that of a head that changes nothing, with its mean's gradient") {
  RowMatrixXd logits = test::normal_matrix<double>(5, 4, 1), by_head(5, 4);
  const std::vector<qlora::Token> targets{0, qlora::ignored, 3, 2, 1};
  const auto loss = qlora::logits_cross_entropy<double>(logits, targets);
  const auto other = qlora::cross_entropy<double>(logits, RowMatrixXd(RowMatrixXd::Identity(4, 4)),
                                                  targets, 0.25, &by_head);
  REQUIRE(loss.counted == 4);
  REQUIRE(std::abs(loss.sum - other.sum) < 1e-12);
  REQUIRE((loss.gradient - by_head).norm() < 1e-12);
  REQUIRE(loss.gradient.row(1).isZero(0));
  REQUIRE(std::abs(loss.mean() - loss.sum / 4) < 1e-15);
  logits.setZero();
  for (const Index row : {0, 2, 3}) logits(row, targets[static_cast<std::size_t>(row)]) = 9;
  logits(4, 0) = 9;
  REQUIRE(qlora::logits_cross_entropy<double>(logits, targets).correct == 3);
  const std::vector<qlora::Token> outside{0, 4, 0, 0, 0};
  REQUIRE_THROWS_AS(qlora::logits_cross_entropy<double>(logits, outside), qlora::ShapeError);
}

TEST_CASE("large logits do not overflow; nothing to count gives zero") {
  const RowMatrixXf hidden = RowMatrixXf::Constant(1, 2, 300.f),
                    head = test::normal_matrix(5, 2, 1);
  RowMatrixXf dhidden(1, 2);
  const std::vector<qlora::Token> targets{2}, none{qlora::ignored};
  REQUIRE(std::isfinite(qlora::cross_entropy<float>(hidden, head, targets, 1.f, &dhidden).sum));
  REQUIRE(dhidden.allFinite());
  const auto empty = qlora::cross_entropy<float>(hidden, head, none, 1.f, &dhidden);
  REQUIRE(empty.counted == 0);
  REQUIRE(empty.sum == 0);
  REQUIRE(dhidden.isZero(0));
}

TEST_CASE("targets outside the vocabulary or of a wrong number are refused") {
  const RowMatrixXf hidden = RowMatrixXf::Zero(2, 2), head = RowMatrixXf::Zero(5, 2);
  const std::vector<qlora::Token> outside{0, 5}, negative{-2, 0}, few{0};
  REQUIRE_THROWS_AS(qlora::cross_entropy<float>(hidden, head, outside, 1.f, nullptr),
                    qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::cross_entropy<float>(hidden, head, negative, 1.f, nullptr),
                    qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::cross_entropy<float>(hidden, head, few, 1.f, nullptr),
                    qlora::ShapeError);
  RowMatrixXf other(2, 3);
  const std::vector<qlora::Token> two{0, 1};
  REQUIRE_THROWS_AS(qlora::cross_entropy<float>(hidden, head, two, 1.f, &other), qlora::ShapeError);
}

#if !QLORA_SANITIZED
TEST_CASE("all logits never exist at once") {
  constexpr Index tokens = 2048, vocabulary = 16384;  // 128 MiB of logits
  const RowMatrixXf hidden = test::normal_matrix(tokens, 8, 1),
                    head = test::normal_matrix(vocabulary, 8, 2);
  const std::vector<qlora::Token> targets(tokens, 7);
  RowMatrixXf dhidden(tokens, 8);
  REQUIRE(test::peak_growth_mib([&] {
            (void)qlora::cross_entropy<float>(hidden, head, targets, 1.f, &dhidden);
          }) < 24);
}
#endif
