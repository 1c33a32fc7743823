#include "qlora/quant/fitted_scale.hpp"

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index;

namespace {

using Step = qlora::FittedStep<15>;
using Signed = qlora::FittedSigned<32>;
using ByCodes = qlora::FittedByCodes<4>;

std::vector<float> weights_of(std::uint64_t seed, Index count) {
  const auto x = test::normal_matrix(1, count, seed);
  return {x.data(), x.data() + count};
}

// The squared error, each weight's counting as FittedStep's does, of the best codes for a scale.
double error_of(const std::vector<float>& x, double scale, double offset, int levels) {
  double squares = 0, error = 0;
  for (const float v : x) squares += static_cast<double>(v) * static_cast<double>(v);
  const double root = std::sqrt(squares / static_cast<double>(x.size()));
  for (const float v : x) {
    const auto w = static_cast<double>(v);
    const double code =
        scale > 0 ? std::clamp(std::nearbyint((w - offset) / scale), 0.0, double(levels)) : 0;
    error += (root + std::abs(w)) * std::pow(code * scale + offset - w, 2);
  }
  return error;
}

}  // namespace

TEST_CASE("whole numbers are the nearest, half-way the even one") {
  using qlora::quant_detail::nearest_whole;
  for (const float x : {-2.5f, -1.5f, -0.5f, 0.f, 0.5f, 1.5f, 2.5f, 3.4f, -3.6f, 1e6f, -1e6f})
    REQUIRE(nearest_whole(x) == static_cast<int>(std::nearbyint(x)));
}

TEST_CASE("a fitted step has no larger error than the block's range") {
  test::law("step", [](std::uint64_t seed) {
    const auto x = weights_of(seed, 32);
    const auto step = Step::reference(x.data(), 32);
    const float low = std::min(0.f, *std::min_element(x.begin(), x.end())),
                high = *std::max_element(x.begin(), x.end());
    RC_ASSERT(step.offset <= 0);
    RC_ASSERT(error_of(x, step.scale, step.offset, 15) <=
              error_of(x, (high - low) / 15, low, 15) * (1 + 1e-5));
  });
}

TEST_CASE("equal weights have a step of 0 where their minimum is below 0, and zeros have none") {
  const std::vector<float> below(32, -0.5f), zeros(32, 0.f);
  REQUIRE(Step::reference(below.data(), 32).offset == -0.5f);
  REQUIRE(Step::reference(zeros.data(), 32).scale == 0);
  REQUIRE(Signed::reference(zeros.data(), 16) == 0);
  REQUIRE(ByCodes::reference(zeros.data(), 16) == 0);
}

TEST_CASE("whole numbers are fitted exactly") {
  std::vector<float> x(16);
  for (int i = 0; i < 16; ++i) x[static_cast<std::size_t>(i)] = static_cast<float>(i - 8) * 0.25f;
  const auto step = Step::reference(x.data(), 16);
  REQUIRE(step.scale == Approx(0.25f));
  REQUIRE(step.offset == Approx(-2.f));
  for (int i = 0; i < 16; ++i)
    x[static_cast<std::size_t>(i)] = static_cast<float>(i % 8 - 4) * 0.5f;
  REQUIRE(ByCodes::reference(x.data(), 16) == Approx(4 * 0.5f));
  for (int i = 0; i < 16; ++i)
    x[static_cast<std::size_t>(i)] = static_cast<float>(4 * i - 32) * 0.5f;
  REQUIRE(Signed::reference(x.data(), 16) == Approx(32 * 0.5f));
}
