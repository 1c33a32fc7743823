#include "qlora/codebook/abnormal_float.hpp"

#include <cmath>

#include "qlora/codebook/constant_math.hpp"
#include "support/catch.hpp"

namespace {

// The share of normal weights in blocks of 64, divided by the block's largest magnitude m, that is
// below x, the largest ones left out: an average of P(|w| < x m) / P(|w| < m) over m, whose density
// goes with phi(m) P(|w| < m)^63.
double share_below(double x) {
  double sum = 0, all = 0;
  for (double m = 1.0 / 64; m < 8; m += 1.0 / 64) {
    const double within = qlora::normal_within(m);
    const double weight = qlora::normal_density(m) * std::pow(within, 63);
    all += weight;
    sum += weight * qlora::normal_within(std::abs(x) * m) / within;
  }
  return x < 0 ? 0.5 - sum / all / 2 : 0.5 + sum / all / 2;
}

}  // namespace

static_assert(qlora::Codebook<qlora::AF4> && qlora::code_bits<qlora::AF4> == 4 &&
              qlora::largest_value<qlora::AF4> == 1.f);

TEST_CASE("AF4 goes down from 1 through 0 to -1") {
  for (std::size_t i = 1; i < 16; ++i) REQUIRE(qlora::AF4::values[i] < qlora::AF4::values[i - 1]);
  REQUIRE(qlora::AF4::values.front() == 1.f);
  REQUIRE(qlora::AF4::values[8] == 0.f);
  REQUIRE(qlora::AF4::values.back() == -1.f);
}

// In the published table the cells on both sides of 0 end at 0 itself, as if it were no value.
TEST_CASE("each free value of AF4 is the median of the normal weights in its cell") {
  const auto middle = [](std::size_t a, std::size_t b) {
    if (a == 8 || b == 8) return 0.0;
    return (static_cast<double>(qlora::AF4::values[a]) +
            static_cast<double>(qlora::AF4::values[b])) /
           2;
  };
  for (std::size_t i = 1; i < 15; ++i) {
    if (i == 8) continue;
    const double low = share_below(middle(i, i + 1)), high = share_below(middle(i - 1, i)),
                 value = share_below(static_cast<double>(qlora::AF4::values[i]));
    INFO(qlora::AF4::values[i] << ": " << (value - low) / (high - low));
    REQUIRE(std::abs((value - low) / (high - low) - 0.5) < 1e-3);
  }
}
