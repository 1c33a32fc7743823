#include "qlora/codebook/codebook.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "qlora/codebook/abnormal_float.hpp"
#include "qlora/codebook/block_optimal.hpp"
#include "qlora/codebook/dynamic.hpp"
#include "qlora/codebook/floating.hpp"
#include "qlora/codebook/ggml.hpp"
#include "qlora/codebook/integer.hpp"
#include "qlora/codebook/normal_float.hpp"
#include "support/law.hpp"

namespace {

struct Ternary {
  static constexpr std::array values{-1.f, 0.f, 1.f};
};
struct Unsorted {
  static constexpr std::array values{3.0, -8.0, 0.25, 0.0, 1.0};
};
struct Zeros {
  static constexpr std::array values{0.f, 0.f};
};
struct NotANumber {
  static constexpr std::array values{0.f, std::numeric_limits<float>::quiet_NaN()};
};
struct One {
  static constexpr std::array values{1.f};
};

// The nearest value by looking at all of them; a tie takes the lower value, equal values the lower
// code.
template <class C>
int nearest_code(float x) {
  int best = 0;
  for (int code = 1; code < qlora::code_count<C>; ++code) {
    const auto value = static_cast<double>(C::values[static_cast<std::size_t>(code)]);
    const auto held = static_cast<double>(C::values[static_cast<std::size_t>(best)]);
    const double distance = std::abs(value - static_cast<double>(x)),
                 least = std::abs(held - static_cast<double>(x));
    if (distance < least || (distance == least && value < held)) best = code;
  }
  return best;
}

template <class C>
void encode_is_nearest(const std::string& name) {
  test::law(name, [](std::int32_t at) {
    const float x = 1.25f * qlora::largest_value<C> * static_cast<float>(at) / 2147483648.f;
    const std::uint8_t code = qlora::encode<C>(x);
    RC_ASSERT(code < qlora::code_count<C>);
    const int nearest = nearest_code<C>(x);
    // A threshold is a mid-point rounded to float: within an ulp of it either neighbour is as near.
    const double value = static_cast<double>(qlora::decode<C>(code));
    const auto best = static_cast<double>(C::values[static_cast<std::size_t>(nearest)]);
    const double excess =
        std::abs(value - static_cast<double>(x)) - std::abs(best - static_cast<double>(x));
    RC_ASSERT(excess <= 2e-7 * static_cast<double>(qlora::largest_value<C>));
  });
}

}  // namespace

static_assert(qlora::Codebook<Ternary> && qlora::code_bits<Ternary> == 2 &&
              qlora::code_count<Ternary> == 3);
static_assert(qlora::Codebook<Unsorted> && qlora::code_bits<Unsorted> == 3 &&
              qlora::largest_value<Unsorted> == 8.f);
static_assert(!qlora::Codebook<Zeros> && !qlora::Codebook<NotANumber> && !qlora::Codebook<One> &&
              !qlora::Codebook<int>);
static_assert(qlora::SortedCodebook<qlora::NF4> && !qlora::SortedCodebook<qlora::FP4> &&
              !qlora::SortedCodebook<qlora::AF4> && !qlora::SortedCodebook<int>);
static_assert(qlora::extreme_value<Unsorted> == -8.f && qlora::extreme_value<Ternary> == 1.f);
static_assert(qlora::encode<Ternary>(0.7f) == 2 && qlora::encode<Ternary>(0.5f) == 1);

TEST_CASE("encode takes the nearest value, in every codebook") {
  encode_is_nearest<qlora::NF2>("NF2");
  encode_is_nearest<qlora::NF3>("NF3");
  encode_is_nearest<qlora::NF4>("NF4");
  encode_is_nearest<qlora::NF8>("NF8");
  encode_is_nearest<qlora::FP4>("FP4");
  encode_is_nearest<qlora::Int4>("Int4");
  encode_is_nearest<qlora::Int<8>>("Int8");
  encode_is_nearest<qlora::Dynamic8>("Dynamic8");
  encode_is_nearest<qlora::UnsignedDynamic8>("UnsignedDynamic8");
  encode_is_nearest<qlora::E2M1>("E2M1");
  encode_is_nearest<qlora::E3M0>("E3M0");
  encode_is_nearest<qlora::E4M3>("E4M3");
  encode_is_nearest<qlora::E5M2>("E5M2");
  encode_is_nearest<qlora::AF4>("AF4");
  encode_is_nearest<qlora::FullInt<4>>("FullInt4");
  encode_is_nearest<qlora::BOF4<64>>("BOF4");
  encode_is_nearest<qlora::BOF4S<64>>("BOF4-S");
  encode_is_nearest<qlora::IQ4NL>("IQ4_NL");
  encode_is_nearest<Ternary>("Ternary");
  encode_is_nearest<Unsorted>("Unsorted");
}

TEST_CASE("a tie takes the lower value") {
  REQUIRE(qlora::encode<Ternary>(-0.5f) == 0);
  REQUIRE(qlora::encode<Ternary>(std::nextafter(-0.5f, 0.f)) == 1);
  REQUIRE(qlora::decode<Unsorted>(qlora::encode<Unsorted>(2.f)) == 1.f);
}

TEST_CASE("values beyond the ends take the ends, NaN the lowest") {
  const float infinity = std::numeric_limits<float>::infinity();
  REQUIRE(qlora::encode<qlora::NF4>(infinity) == 15);
  REQUIRE(qlora::encode<qlora::NF4>(-infinity) == 0);
  REQUIRE(qlora::encode<qlora::NF4>(std::numeric_limits<float>::quiet_NaN()) == 0);
  REQUIRE(qlora::encode<qlora::Dynamic8>(infinity) == 255);
}

TEST_CASE("the decode table is padded so that no code reads outside") {
  REQUIRE(sizeof(qlora::decode_table<Ternary>) == 4 * sizeof(float));
  REQUIRE(qlora::decode<Ternary>(3) == 0.f);
}
