#include "qlora/quant/split_outliers.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index;

TEST_CASE("both parts together are the matrix, and no weight left is larger than an outlier") {
  test::law("split", [](std::uint64_t seed, std::uint8_t rows, std::uint8_t cols) {
    const Index r = rows % 7 + 1, c = cols % 60 + 1;
    const auto x = test::normal_matrix(r, c, seed);
    const double share = 0.1;
    const auto [rest, outliers] = qlora::quant_detail::split_outliers(x.data(), r, c, share);
    RC_ASSERT(static_cast<Index>(outliers.value.size()) ==
              static_cast<Index>(share * static_cast<double>(r * c)));
    RC_ASSERT(static_cast<Index>(outliers.row_start.size()) == r + 1);
    float largest_left = 0, least_kept = HUGE_VALF;
    for (const float w : rest) largest_left = std::max(largest_left, std::abs(w));
    qlora::RowMatrixXf together = Eigen::Map<const qlora::RowMatrixXf>(rest.data(), r, c);
    for (Index row = 0; row < r; ++row)
      for (auto k = outliers.row_start[static_cast<std::size_t>(row)];
           k < outliers.row_start[static_cast<std::size_t>(row) + 1]; ++k) {
        const auto col = static_cast<Index>(outliers.column[k]);
        RC_ASSERT(together(row, col) == 0);
        together(row, col) = x(row, col);
        least_kept = std::min(least_kept, std::abs(x(row, col)));
        RC_ASSERT(static_cast<float>(outliers.value[k]) ==
                  static_cast<float>(qlora::bfloat16(x(row, col))));
      }
    RC_ASSERT(largest_left <= least_kept);
    RC_ASSERT(test::same_bits(together, x));
  });
}

TEST_CASE("of equal weights the first are outliers") {
  const std::vector<float> weights(10, 1.f);
  const auto [rest, outliers] = qlora::quant_detail::split_outliers(weights.data(), 2, 5, 0.3);
  REQUIRE(outliers.column == std::vector<std::uint32_t>{0, 1, 2});
  REQUIRE(rest[2] == 0);
  REQUIRE(rest[3] == 1);
}

TEST_CASE("weights that are not finite, or that bfloat16 can't hold, are refused by place") {
  std::vector<float> weights(10, 1.f);
  weights[7] = 3.4e38f;
  REQUIRE(test::contains(test::message_of<qlora::NumericError>([&] {
                           (void)qlora::quant_detail::split_outliers(weights.data(), 2, 5, 0.1);
                         }),
                         "row 1, column 2"));
  weights[7] = std::nanf("");
  REQUIRE_THROWS_AS(qlora::quant_detail::split_outliers(weights.data(), 2, 5, 0.1),
                    qlora::NumericError);
}
