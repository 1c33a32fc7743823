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
  RowMatrixXd hidden = test::normal_matrix<double>(7, 4, 1), dhidden;
  const RowMatrixXd head = test::normal_matrix<double>(9, 4, 2);
  const std::vector<qlora::Token> targets{0, 8, qlora::ignored, 3, 3, qlora::ignored, 1};
  (void)qlora::cross_entropy<double>(hidden, head, targets, 0.25, &dhidden);
  REQUIRE(test::gradient_error(hidden, dhidden, [&] {
            return 0.25 * qlora::cross_entropy<double>(hidden, head, targets, 0.25, nullptr).sum;
          }) == "");
  REQUIRE(dhidden.row(2).isZero(0));
  REQUIRE(dhidden.row(5).isZero(0));
}

TEST_CASE("large logits do not overflow; nothing to count gives zero") {
  const RowMatrixXf hidden = RowMatrixXf::Constant(1, 2, 300.f),
                    head = test::normal_matrix(5, 2, 1);
  RowMatrixXf dhidden;
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
}

#if !QLORA_SANITIZED
TEST_CASE("all logits never exist at once") {
  constexpr Index tokens = 2048, vocabulary = 16384;  // 128 MiB of logits
  const RowMatrixXf hidden = test::normal_matrix(tokens, 8, 1),
                    head = test::normal_matrix(vocabulary, 8, 2);
  const std::vector<qlora::Token> targets(tokens, 7);
  RowMatrixXf dhidden;
  REQUIRE(test::peak_growth_mib([&] {
            (void)qlora::cross_entropy<float>(hidden, head, targets, 1.f, &dhidden);
          }) < 24);
}
#endif
