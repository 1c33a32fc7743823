#include "qlora/core/matrix.hpp"

#include "support/catch.hpp"
#include "support/numbers.hpp"

TEST_CASE("a wrong shape is named with what was expected and found") {
  const qlora::RowMatrixXf m(2, 3);
  REQUIRE_NOTHROW(qlora::require_shape("m", m, 2, 3));
  const auto text =
      test::message_of<qlora::ShapeError>([&] { qlora::require_shape("m", m, 3, 2); });
  REQUIRE(text == "m: expected shape [3, 2], found [2, 3]");
}

TEST_CASE("every kind of error is an Error") {
  REQUIRE_THROWS_AS(qlora::require<qlora::IoError>(false, "x"), qlora::Error);
  REQUIRE_THROWS_AS(qlora::require<qlora::FormatError>(false, "x"), qlora::Error);
  REQUIRE_THROWS_AS(qlora::require<qlora::NumericError>(false, "x"), qlora::Error);
  REQUIRE_THROWS_AS(qlora::require<qlora::Cancelled>(false, "x"), qlora::Error);
  REQUIRE_NOTHROW(qlora::require<qlora::IoError>(true, "x"));
  REQUIRE(qlora::message("row ", 3, ": ", 1.5) == "row 3: 1.5");
}
