#include "qlora/model/model_source.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::model_detail::Attempt;

TEST_CASE("what was read is read once and given each time it is asked for") {
  int reads = 0;
  const Attempt<std::vector<int>> read([&] {
    ++reads;
    return std::vector<int>{1, 2};
  });
  REQUIRE(reads == 1);
  REQUIRE(read.value() == std::vector<int>{1, 2});
  REQUIRE(&read.value() == &read.value());
  REQUIRE(reads == 1);
}

TEST_CASE("a failure to read is thrown each time it is asked for, with its kind, and not before") {
  int reads = 0;
  const Attempt<int> broken([&]() -> int {
    ++reads;
    throw qlora::IoError("config.json: can't open the file");
  });
  const Attempt<int> copy = broken;
  for (const auto* each : {&broken, &broken, &copy})
    REQUIRE(test::message_of<qlora::IoError>([&] { (void)each->value(); }) ==
            "config.json: can't open the file");
  REQUIRE(reads == 1);
  const Attempt<int> other([]() -> int { throw std::out_of_range("7"); });
  REQUIRE_THROWS_AS(other.value(), std::out_of_range);
}
