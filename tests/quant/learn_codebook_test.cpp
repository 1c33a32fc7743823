#include "qlora/quant/learn_codebook.hpp"

#include <cmath>
#include <vector>

#include "qlora/quant/named_formats.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index;

namespace {

using ByMatrix = qlora::BlockFormat<qlora::Learned<2>, 8, qlora::FloatScale<float>>;

std::vector<float> values_of(const std::vector<float>& weights, const std::vector<float>& scales) {
  const auto storage = qlora::FloatScale<float>::store(scales);
  return qlora::quant_detail::learn<ByMatrix>(weights.data(), 1, static_cast<Index>(weights.size()),
                                              8, storage.view())
      .values;
}

}  // namespace

TEST_CASE("four values of the weights in units of their scales are found") {
  const float values[] = {-1.f, -0.25f, 0.5f, 1.f};
  std::vector<float> weights;
  const std::vector<float> scales{2.f, 0.5f, 8.f};
  for (const float scale : scales)
    for (int i = 0; i < 8; ++i) weights.push_back(values[i % 4] * scale);
  const auto learned = values_of(weights, scales);
  REQUIRE(learned.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) REQUIRE(std::abs(learned[i] - values[i]) < 1e-3f);
}

TEST_CASE("a block's share in the values is the square of its scale") {
  // Between -1 and 1 lie values about 0.4 of a heavy block and about 0.6 of a light one: the least
  // squared error of the weights puts the value near the heavy one's.
  std::vector<float> weights;
  for (const float scale : {10.f, 0.1f})
    for (const float x : {-1.f, 1.f, 0.f, scale > 1 ? 0.4f : 0.6f, -1.f, 1.f, 0.f, 1.f})
      weights.push_back(x * scale);
  const auto learned = values_of(weights, {10.f, 0.1f});
  REQUIRE(std::abs(learned[2] - 0.4f) < 1e-3f);
}

TEST_CASE("a scale that is not finite teaches nothing") {
  std::vector<float> weights(16, 0.5f);
  for (std::size_t i = 8; i < 16; ++i) weights[i] = 1e30f;
  const auto storage = qlora::FloatScale<float>::Storage{{1.f, HUGE_VALF}};
  const auto learned =
      qlora::quant_detail::learn<ByMatrix>(weights.data(), 1, 16, 8, storage.view()).values;
  for (const float value : learned) REQUIRE(std::abs(value) <= 1.f);
}
