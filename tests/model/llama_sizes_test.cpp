#include "qlora/model/llama_sizes.hpp"

#include <limits>
#include <string>

#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index, qlora::LlamaConfig;

namespace {

const qlora::LlamaKeyNames names{"f: width", "f: heads", "f: kv", "f: base", "f: epsilon"};

std::string refusal(const LlamaConfig& config) {
  return test::message_of<qlora::FormatError>([&] { qlora::require_sizes(config, names); });
}

}  // namespace

TEST_CASE("sizes fit for any heads that keys and values are shared by, each of an even width") {
  test::law("fit", [](std::uint8_t kv_heads, std::uint8_t group, std::uint8_t half) {
    LlamaConfig config;
    config.kv_heads = kv_heads + 1;
    config.heads = config.kv_heads * (group + 1);
    config.width = config.heads * 2 * (half + 1);
    RC_ASSERT(refusal(config) == "nothing was thrown");
    ++config.width;
    RC_ASSERT(refusal(config) != "nothing was thrown");
  });
}

TEST_CASE("sizes of a Llama that do not fit are refused by the key, with what was expected") {
  REQUIRE(refusal({.width = 24, .heads = 6, .kv_heads = 4}) ==
          "f: kv: expected a divisor of the 6 heads, found 4");
  REQUIRE(refusal({.width = 24, .heads = 6, .kv_heads = 12}) ==
          "f: kv: expected a divisor of the 6 heads, found 12");
  REQUIRE(refusal({.width = 26, .heads = 4, .kv_heads = 2}) ==
          "f: heads: expected a divisor of the width 26, found 4");
  REQUIRE(refusal({.width = 12, .heads = 4, .kv_heads = 4}) ==
          "f: width: expected an even width for each of the 4 heads, found 3");
}

TEST_CASE("the base of the angles and the norms' epsilon are finite and above 0") {
  const LlamaConfig good{.width = 8, .heads = 2, .kv_heads = 1};
  REQUIRE(refusal(good) == "nothing was thrown");
  for (const double bad : {0.0, -1.0, std::numeric_limits<double>::infinity(),
                           std::numeric_limits<double>::quiet_NaN()}) {
    LlamaConfig config = good;
    config.rotary.base = bad;
    REQUIRE(test::contains(refusal(config), "f: base: expected a finite number above 0, found "));
    config = good;
    config.norm_epsilon = bad;
    REQUIRE(test::contains(refusal(config), "f: epsilon: expected a finite number above 0"));
  }
}
