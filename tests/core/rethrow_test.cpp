#include "qlora/core/rethrow.hpp"

#include "support/catch.hpp"

TEST_CASE("an error that is thrown again with another text keeps its kind") {
  const auto again = [](const qlora::Error& failure) {
    qlora::rethrow_as(failure, "step 3: full");
  };
  REQUIRE_THROWS_AS(again(qlora::ShapeError("")), qlora::ShapeError);
  REQUIRE_THROWS_AS(again(qlora::FormatError("")), qlora::FormatError);
  REQUIRE_THROWS_AS(again(qlora::OptionError("")), qlora::OptionError);
  REQUIRE_THROWS_AS(again(qlora::IoError("")), qlora::IoError);
  REQUIRE_THROWS_AS(again(qlora::DeviceError("")), qlora::DeviceError);
  REQUIRE_THROWS_AS(again(qlora::NumericError("")), qlora::NumericError);
  REQUIRE_THROWS_AS(again(qlora::Cancelled("")), qlora::Cancelled);
  REQUIRE_THROWS_WITH(again(qlora::Error("full")), "step 3: full");
}
