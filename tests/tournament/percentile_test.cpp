#include "qlora/tournament/percentile.hpp"

#include <cmath>

#include "support/catch.hpp"

TEST_CASE("percentiles lie on a line between the nearest values") {
  REQUIRE(qlora::percentile({4, 1, 3, 2}, 0) == 1);
  REQUIRE(qlora::percentile({4, 1, 3, 2}, 1) == 4);
  REQUIRE(qlora::percentile({4, 1, 3, 2}, 0.5) == 2.5);
  REQUIRE(qlora::percentile({4, 1, 3, 2}, 0.25) == 1.75);
  REQUIRE(qlora::percentile({7}, 0.9) == 7);
  REQUIRE(std::isnan(qlora::percentile({}, 0.5)));
}
