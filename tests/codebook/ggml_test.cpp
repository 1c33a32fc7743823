#include "qlora/codebook/ggml.hpp"

#include <algorithm>
#include <cmath>

#include "support/law.hpp"

namespace {

// ggml's own rounding, as gguf.quants writes it.
int q4_0_code(float x) { return std::min(15, static_cast<int>(x + 8.5f)); }
int q4_1_code(float x) { return std::min(15, static_cast<int>(x + 0.5f)); }
int q5_0_code(float x) { return std::min(31, static_cast<int>(x + 16.5f)); }
int q5_1_code(float x) { return std::min(31, static_cast<int>(x + 0.5f)); }
int q8_0_code(float x) { return static_cast<int>(std::round(x)); }  // half away from zero

// A number anywhere in [low, high], or within four ulps of a half.
float drawn(std::int32_t at, float low, float high) {
  const float unit = (static_cast<float>(at) / 2147483648.f + 1) / 2;
  float x = low + (high - low) * unit;
  if (at % 2 == 0) {
    x = std::floor(x) + 0.5f;
    for (int i = 0; i < at / 2 % 5; ++i) x = std::nextafter(x, at % 4 == 0 ? -1e9f : 1e9f);
  }
  return std::clamp(x, low, high);
}

}  // namespace

TEST_CASE("thresholds give the codes that ggml's rounding gives, ties and their neighbours too") {
  test::law("Q4_0", [](std::int32_t at) {
    const float x = drawn(at, -8.f, 8.f);
    RC_ASSERT(qlora::encode<qlora::GgmlInt4>(x) == q4_0_code(x));
  });
  test::law("Q4_1", [](std::int32_t at) {
    const float x = drawn(at, 0.f, 15.f);
    RC_ASSERT(qlora::encode<qlora::GgmlUInt4>(x) == q4_1_code(x));
  });
  test::law("Q5_0", [](std::int32_t at) {
    const float x = drawn(at, -16.f, 16.f);
    RC_ASSERT(qlora::encode<qlora::GgmlInt5>(x) == q5_0_code(x));
  });
  test::law("Q5_1", [](std::int32_t at) {
    const float x = drawn(at, 0.f, 31.f);
    RC_ASSERT(qlora::encode<qlora::GgmlUInt5>(x) == q5_1_code(x));
  });
  test::law("Q8_0", [](std::int32_t at) {
    const float x = drawn(at, -127.f, 127.f);
    RC_ASSERT(qlora::encode<qlora::GgmlInt8>(x) - 128 == q8_0_code(x));
  });
}

TEST_CASE("a block's extreme maps to -8, -16, 127 and -127") {
  REQUIRE(qlora::extreme_value<qlora::GgmlInt5> == -16.f);
  REQUIRE(qlora::extreme_value<qlora::GgmlInt4> == -8.f);
  REQUIRE(qlora::largest_value<qlora::GgmlInt8> == 127.f);
  REQUIRE(qlora::extreme_value<qlora::IQ4NL> == -127.f);
}
