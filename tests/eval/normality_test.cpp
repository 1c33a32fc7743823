#include "qlora/eval/normality.hpp"

#include <cmath>
#include <string>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace {

// As in golden/make_statistics.py.
Eigen::ArrayXd sample(qlora::Index n, const std::string& kind) {
  const auto u = [n](qlora::Index k) {
    Eigen::ArrayXd values(n);
    for (qlora::Index i = 0; i < n; ++i)
      values[i] = static_cast<double>((i * (7919 + 2 * k) + 131 * k) % 10007) / 10007.0;
    return values;
  };
  Eigen::ArrayXd total = u(0);
  for (qlora::Index k = 1; k < 12; ++k) total += u(k);
  total -= 6;
  if (kind == "uniform") return u(0);
  if (kind == "heavy") return total / (0.3 + u(12));
  return total;
}

}  // namespace

TEST_CASE("Shapiro and Wilk's w and p are scipy's, from 3 to 5000 numbers") {
  const auto cases = test::golden("statistics.json").at("normality");
  REQUIRE(cases.size() == 27);
  for (const auto& each : cases) {
    const auto n = each.at("n").get<qlora::Index>();
    const auto kind = each.at("of").get<std::string>();
    INFO(n << " " << kind);
    const qlora::ShapiroWilk result = qlora::shapiro_wilk(sample(n, kind));
    REQUIRE(result.w == Approx(each.at("w").get<double>()).epsilon(1e-7));
    REQUIRE(result.p == Approx(each.at("p").get<double>()).epsilon(1e-3).margin(1e-9));
  }
}

TEST_CASE("normality does not depend on order, place or scale") {
  const Eigen::ArrayXd x = sample(100, "normal");
  const auto same = qlora::shapiro_wilk((x.reverse() * 1e-3 + 5).eval());
  REQUIRE(same.w == Approx(qlora::shapiro_wilk(x).w));
}

TEST_CASE("too few, too many, equal and broken numbers have no normality") {
  REQUIRE_THROWS_AS(qlora::shapiro_wilk(Eigen::ArrayXd::Zero(2)), qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::shapiro_wilk(Eigen::ArrayXd::Zero(5001)), qlora::ShapeError);
  REQUIRE(std::isnan(qlora::shapiro_wilk(Eigen::ArrayXd::Ones(10)).p));
  Eigen::ArrayXd broken = sample(10, "normal");
  broken[3] = NAN;
  REQUIRE(std::isnan(qlora::shapiro_wilk(broken).w));
}

TEST_CASE("the share of rows that are refused") {
  qlora::RowMatrixXf rows(4, 500);
  for (qlora::Index i = 0; i < 500; ++i)
    rows.col(i).setConstant(
        static_cast<float>(qlora::normal_quantile((static_cast<double>(i) + 0.5) / 500)));
  rows.row(3) = sample(500, "uniform").cast<float>();
  REQUIRE(qlora::rows_refused(rows) == 0.25);
  REQUIRE(qlora::rows_refused(qlora::RowMatrixXf(0, 5)) == 0);
}
