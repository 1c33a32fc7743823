#include "qlora/codebook/student_float.hpp"

#include <cmath>

#include "support/catch.hpp"

namespace {

bool near(double a, double b) { return std::abs(a - b) < 1e-8 * std::abs(b); }

}  // namespace

TEST_CASE("quantiles of Student's t are those of its tables") {
  // Closed forms: for one degree tan(pi (p - 1/2)), for two (2p - 1) / sqrt(2 p (1 - p)).
  for (const double p : {0.55, 0.75, 0.9, 0.975, 0.999}) {
    REQUIRE(near(qlora::codebook_detail::student_quantile<1>(p),
                 std::tan(3.141592653589793 * (p - 0.5))));
    REQUIRE(near(qlora::codebook_detail::student_quantile<2>(p),
                 (2 * p - 1) / std::sqrt(2 * p * (1 - p))));
  }
  // scipy.stats.t.ppf
  REQUIRE(near(qlora::codebook_detail::student_quantile<5>(0.975), 2.5705818366147395));
  REQUIRE(near(qlora::codebook_detail::student_quantile<30>(0.95), 1.6972608943617378));
  REQUIRE(std::abs(qlora::codebook_detail::student_quantile<5>(0.5)) < 1e-12);
}

TEST_CASE("many degrees of freedom come near NormalFloat, few spread the values") {
  using Many = qlora::StudentFloat<4, 100>;
  using Few = qlora::StudentFloat<4, 3>;
  for (std::size_t i = 1; i < 15; ++i) {
    if (i == 7) continue;
    REQUIRE(std::abs(Many::values[i] - qlora::NF4::values[i]) < 4e-3f);
    REQUIRE(std::abs(Few::values[i]) < std::abs(qlora::NF4::values[i]));
  }
  REQUIRE(Few::values.front() == -1.f);
  REQUIRE(Few::values[7] == 0.f);
  REQUIRE(Few::values.back() == 1.f);
}

static_assert(qlora::SortedCodebook<qlora::StudentFloat<3, 5>> &&
              qlora::code_count<qlora::StudentFloat<3, 5>> == 8);
