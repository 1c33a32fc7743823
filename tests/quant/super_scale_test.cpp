#include "qlora/quant/super_scale.hpp"

#include <limits>
#include <vector>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index, qlora::ScaleAndOffset;

namespace {
using SuperSigned = qlora::SuperScale<16, 6>;
using Steps = qlora::SuperAffineScale<8, 6>;
}  // namespace

TEST_CASE(
    "coded scales come back within half a step of their shared one, and the extreme exactly") {
  test::law("scales", [](std::uint64_t seed) {
    const auto numbers = test::normal_matrix(1, 21, seed);  // the last five share a half, too
    const auto storage = SuperSigned::store({numbers.data(), 21});
    RC_ASSERT(storage.size() == 21);
    RC_ASSERT(storage.bytes() == (21 * 6 + 7) / 8 + 2 * 2);
    const auto view = storage.view();
    for (Index first : {0, 16}) {
      float largest = 0;
      for (Index i = first; i < std::min<Index>(21, first + 16); ++i)
        largest = std::max(largest, std::abs(numbers(0, i)));
      for (Index i = first; i < std::min<Index>(21, first + 16); ++i) {
        // Halves have 11 bits; a number opposite to the extreme may be cut by a step.
        const float step = largest / 32, room = numbers(0, i) == 0 ? 0.5f : 1.01f;
        RC_ASSERT(std::abs(view(i) - numbers(0, i)) <= room * step + largest / 1024);
      }
    }
  });
}

TEST_CASE("steps and minima come back within half a step of their shared ones") {
  test::law("steps", [](std::uint64_t seed) {
    const auto numbers = test::normal_matrix(2, 8, seed).cwiseAbs().eval();
    std::vector<ScaleAndOffset> steps;
    for (Index i = 0; i < 8; ++i) steps.push_back({numbers(0, i), -numbers(1, i)});
    const auto storage = Steps::store(steps);
    const auto view = storage.view();
    const float scale = numbers.row(0).maxCoeff(), minimum = numbers.row(1).maxCoeff();
    for (Index i = 0; i < 8; ++i) {
      RC_ASSERT(std::abs(view(i).scale - numbers(0, i)) <= scale * (0.5f / 63 + 1.f / 1024));
      RC_ASSERT(std::abs(view(i).offset + numbers(1, i)) <= minimum * (0.5f / 63 + 1.f / 1024));
    }
  });
}

TEST_CASE("zeros are stored as zeros, and a scale beyond half precision is refused") {
  const std::vector<float> zeros(16, 0.f), large(16, 65504.f * 40);
  const auto none = SuperSigned::store(zeros);
  for (Index i = 0; i < 16; ++i) REQUIRE(none.view()(i) == 0);
  REQUIRE_THROWS_AS(SuperSigned::store(large), qlora::NumericError);
  const std::vector<ScaleAndOffset> steep(8, {65504.f * 70, 0.f});
  REQUIRE_THROWS_AS(Steps::store(steep), qlora::NumericError);
}

TEST_CASE("weights come back the closer, the more bits a K type has") {
  const auto x = test::normal_matrix(8, 512, 5);
  const auto error = [&]<class F>() {
    return static_cast<double>((qlora::dequantize(qlora::quantize<F>(x)) - x).norm()) /
           static_cast<double>(x.norm());
  };
  const double two = error.template operator()<qlora::formats::q2_k>(),
               three = error.template operator()<qlora::formats::q3_k>(),
               four = error.template operator()<qlora::formats::q4_k>(),
               five = error.template operator()<qlora::formats::q5_k>(),
               six = error.template operator()<qlora::formats::q6_k>();
  REQUIRE(two < 0.32);
  REQUIRE(three < two * 0.6);
  REQUIRE(four < error.template operator()<qlora::formats::q4_1>());
  REQUIRE(five < four * 0.6);
  REQUIRE(six < five * 0.6);
}
