#include "qlora/nn/rotary.hpp"

#include <cmath>
#include <vector>

#include "qlora/nn/rope.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Rotary;
using qlora::RotaryScaling;

TEST_CASE("a linear scaling divides all frequencies, divisors each its own") {
  const auto plain = qlora::rotary_frequencies({.base = 100}, 8);
  const auto linear =
      qlora::rotary_frequencies({.base = 100, .scaling = RotaryScaling::linear, .factor = 4}, 8);
  const auto divided = qlora::rotary_frequencies({.base = 100, .divisors = {1, 2, 4, 8}}, 8);
  for (std::size_t i = 0; i < 4; ++i) {
    REQUIRE(plain[i] == Approx(std::pow(100, -static_cast<double>(i) / 4)));
    REQUIRE(linear[i] == plain[i] / 4);
    REQUIRE(divided[i] == plain[i] / std::pow(2, i));
  }
}

TEST_CASE("Llama 3's scaling and YaRN leave short waves, divide long ones and go over smoothly") {
  for (const auto scaling : {RotaryScaling::llama3, RotaryScaling::yarn}) {
    const Rotary rotary{.base = 10000, .scaling = scaling, .factor = 8, .original_context = 256};
    const auto plain = qlora::rotary_frequencies({.base = 10000}, 64);
    const auto scaled = qlora::rotary_frequencies(rotary, 64);
    REQUIRE(scaled.front() == plain.front());
    REQUIRE(scaled.back() == Approx(plain.back() / 8));
    double last = 1;
    int between = 0;
    for (std::size_t i = 0; i < scaled.size(); ++i) {
      const double ratio = scaled[i] / plain[i];
      REQUIRE((ratio <= last + 1e-12 && ratio >= 0.125 - 1e-12));
      between += ratio < 0.999 && ratio > 0.126 ? 1 : 0;
      last = ratio;
    }
    REQUIRE(between >= 2);
  }
  REQUIRE(qlora::yarn_magnitude(1) == 1);
  REQUIRE(qlora::yarn_magnitude(std::exp(1.0)) == Approx(1.1));
}

TEST_CASE("of a head that turns in part the rest stays") {
  const qlora::Rope<double> part(6, Rotary{.base = 50, .width = 4}, 10), whole(4, 50, 10);
  qlora::RowMatrixXd x = test::normal_matrix<double>(3, 12, 1), y(3, 8);
  const qlora::RowMatrixXd before = x;
  for (qlora::Index head = 0; head < 2; ++head)
    y.middleCols(4 * head, 4) = x.middleCols(6 * head, 4);
  const std::vector<qlora::Index> positions{0, 3, 7};
  part.forward(x, positions);
  whole.forward(y, positions);
  for (qlora::Index head = 0; head < 2; ++head) {
    REQUIRE(x.middleCols(6 * head, 4) == y.middleCols(4 * head, 4));
    REQUIRE(x.middleCols(6 * head + 4, 2) == before.middleCols(6 * head + 4, 2));
  }
  part.backward(x, positions);
  REQUIRE((x - before).cwiseAbs().maxCoeff() < 1e-14);
}

TEST_CASE("settings of no rotation are refused by what is wrong with them") {
  const auto refusal = [](const Rotary& rotary, qlora::Index width) {
    return test::message_of<qlora::Error>([&] { (void)qlora::rotary_frequencies(rotary, width); });
  };
  REQUIRE_THAT(refusal({}, 7), test::contains("an even width of at most the head's 7, found 7"));
  REQUIRE_THAT(refusal({.width = 10}, 8), test::contains("found 10"));
  REQUIRE_THAT(refusal({.base = 0}, 8), test::contains("a base above 0, found 0"));
  REQUIRE_THAT(refusal({.factor = -1}, 8), test::contains("a factor above 0, found -1"));
  REQUIRE_THAT(refusal({.scaling = RotaryScaling::yarn}, 8), test::contains("original context"));
  REQUIRE_THAT(refusal({.divisors = {1, 2}}, 8), test::contains("expected 4 divisors"));
}
