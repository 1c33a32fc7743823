#include "qlora/core/progress.hpp"

#include "support/catch.hpp"

namespace {

struct WithLoss : qlora::Progress {
  double loss = 0;
};

}  // namespace

TEST_CASE("a callback that wants progress only fits where more is told") {
  qlora::Index done = 0;
  const auto stops_at_two = [&](const qlora::Progress& now) {
    done = now.done;
    return now.done < 2 && now.total == 3;
  };
  const qlora::ProgressCallback<> plain = stops_at_two;
  const qlora::ProgressCallback<WithLoss> more = stops_at_two;
  REQUIRE(plain({1, 3}));
  REQUIRE(!more({{2, 3}, 0.5}));
  REQUIRE(done == 2);
  REQUIRE(!qlora::ProgressCallback<>());
}
