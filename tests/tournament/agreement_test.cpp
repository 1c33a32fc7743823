#include "qlora/tournament/agreement.hpp"

#include <cmath>
#include <numeric>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/law.hpp"

using qlora::cohen_kappa;
using qlora::fleiss_kappa;
using qlora::kendall_tau;
using qlora::spearman_rho;

namespace {

const nlohmann::json& statistics() {
  static const nlohmann::json all = test::golden("statistics.json");
  return all;
}

// Tau-b by its definition, pair by pair.
double tau_by_pairs(const std::vector<double>& a, const std::vector<double>& b) {
  double score = 0, untied_a = 0, untied_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      const int x = (a[i] > a[j]) - (a[i] < a[j]), y = (b[i] > b[j]) - (b[i] < b[j]);
      score += x * y;
      untied_a += x != 0;
      untied_b += y != 0;
    }
  return score / std::sqrt(untied_a * untied_b);
}

}  // namespace

TEST_CASE("Kendall tau and Spearman rho are scipy's, ties included") {
  REQUIRE(statistics().at("rankings").size() == 7);
  for (const auto& each : statistics().at("rankings")) {
    const auto a = each.at("a").get<std::vector<double>>();
    const auto b = each.at("b").get<std::vector<double>>();
    INFO(a.size() << " values");
    REQUIRE(kendall_tau(a, b) == Approx(each.at("tau").get<double>()).margin(1e-12));
    REQUIRE(spearman_rho(a, b) == Approx(each.at("rho").get<double>()).margin(1e-12));
  }
}

TEST_CASE("Cohen kappa is scikit-learn's") {
  for (const auto& each : statistics().at("two_judges")) {
    const auto a = each.at("a").get<std::vector<int>>(), b = each.at("b").get<std::vector<int>>();
    REQUIRE(cohen_kappa(a, b) == Approx(each.at("kappa").get<double>()).margin(1e-12));
  }
}

TEST_CASE("Fleiss kappa is statsmodels', and the published example's 0.210") {
  const auto kappa_of = [](const nlohmann::json& rows) {
    qlora::RowMatrixXd counts(static_cast<qlora::Index>(rows.size()),
                              static_cast<qlora::Index>(rows[0].size()));
    for (qlora::Index i = 0; i < counts.rows(); ++i)
      for (qlora::Index c = 0; c < counts.cols(); ++c)
        counts(i, c) = rows[static_cast<std::size_t>(i)][static_cast<std::size_t>(c)].get<double>();
    return fleiss_kappa(counts);
  };
  for (const auto& each : statistics().at("many_judges"))
    REQUIRE(kappa_of(each.at("counts")) == Approx(each.at("kappa").get<double>()).margin(1e-12));
  // Ten items, fourteen judges, five labels.
  REQUIRE(kappa_of({{0, 0, 0, 0, 14},
                    {0, 2, 6, 4, 2},
                    {0, 0, 3, 5, 6},
                    {0, 3, 9, 2, 0},
                    {2, 2, 8, 1, 1},
                    {7, 7, 0, 0, 0},
                    {3, 2, 6, 3, 0},
                    {2, 5, 3, 2, 2},
                    {6, 5, 2, 1, 0},
                    {0, 2, 2, 3, 7}}) == Approx(0.210).margin(5e-4));
}

TEST_CASE("tau in n log n is tau pair by pair, symmetric, and turns its sign with a side") {
  test::law("tau", [](const std::vector<std::pair<std::uint8_t, std::uint8_t>>& pairs) {
    std::vector<double> a, b, minus_b;
    for (const auto& [x, y] : pairs) {
      a.push_back(x % 9);
      b.push_back(y % 9);
      minus_b.push_back(-(y % 9));
    }
    const double tau = kendall_tau(a, b), expected = tau_by_pairs(a, b);
    RC_ASSERT(std::isnan(tau) == std::isnan(expected));
    if (std::isnan(tau)) return;
    RC_ASSERT(std::abs(tau - expected) < 1e-12);
    RC_ASSERT(kendall_tau(b, a) == tau);
    RC_ASSERT(std::abs(kendall_tau(a, minus_b) + tau) < 1e-12);
    RC_ASSERT(std::abs(spearman_rho(a, minus_b) + spearman_rho(a, b)) < 1e-12);
  });
}

TEST_CASE("ranks of equal values are their mean") {
  const std::vector<double> values{3, 1, 3, 2}, expected{3.5, 1, 3.5, 2};
  REQUIRE(qlora::ranks(values) == expected);
  REQUIRE(qlora::ranks(std::vector<double>{}).empty());
}

TEST_CASE("what is not defined is NaN, and sides of different length are an error") {
  const std::vector<double> none, one{1}, equal{2, 2, 2}, three{1, 2, 3}, broken{1, NAN, 3};
  REQUIRE(std::isnan(kendall_tau(none, none)));
  REQUIRE(std::isnan(spearman_rho(one, one)));
  REQUIRE(std::isnan(kendall_tau(equal, three)));
  REQUIRE(std::isnan(spearman_rho(three, equal)));
  REQUIRE(std::isnan(kendall_tau(three, broken)));
  REQUIRE(std::isnan(spearman_rho(broken, three)));
  REQUIRE(std::isnan(cohen_kappa<int>({}, {})));
  REQUIRE(std::isnan(cohen_kappa<int>({1, 1}, {1, 1})));
  REQUIRE(std::isnan(fleiss_kappa(qlora::RowMatrixXd(0, 3))));
  REQUIRE_THROWS_AS(kendall_tau(one, three), qlora::ShapeError);
  REQUIRE_THROWS_AS(spearman_rho(one, three), qlora::ShapeError);
  REQUIRE_THROWS_AS(cohen_kappa<int>({1}, {1, 2}), qlora::ShapeError);
  qlora::RowMatrixXd uneven(2, 2);
  uneven << 2, 0, 1, 0;
  REQUIRE_THROWS_AS(fleiss_kappa(uneven), qlora::ShapeError);
}
