// Finite weights decode to finite weights, or an Error says why not.
#include "qlora/quant/require_finite.hpp"

#include <cmath>
#include <limits>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

namespace {

constexpr float largest = std::numeric_limits<float>::max();

// A scale of the user's own in 16 bits, which says nothing of what it can hold.
struct Unchecked : qlora::FloatScale<qlora::float16> {
  static constexpr float largest_scale = 0;
  static Storage store(std::span<const float> references, float value = 1) {
    Storage storage;
    for (const float reference : references) storage.values.emplace_back(reference / value);
    return storage;
  }
};

template <class Scale, class Normalization = qlora::AbsoluteMaximum>
using Nf4With = qlora::BlockFormat<qlora::NF4, 16, Scale, Normalization>;

// Blocks of 16 of any size, from subnormal numbers to the largest, and often where some storage
// ends.
RowMatrixXf any_weights(std::uint64_t seed) {
  constexpr float ends[] = {1e-45f,  1e-38f,  6e-8f,   3e-8f,   448.f,
                            464.f,   65504.f, 65520.f, 8.3e6f,  3.39e38f,
                            1.7e38f, 8.5e37f, largest, largest, largest / 2};
  RowMatrixXf x(3, 43);
  for (Index i = 0; i < x.size(); ++i) {
    const auto uniform = [&](std::uint64_t stream) {
      return qlora::uniform01(seed * 4 + stream, static_cast<std::uint64_t>(i));
    };
    const auto block = static_cast<std::uint64_t>(i / 16);
    const float kind = qlora::uniform01(seed + 77, block);
    const float place = qlora::uniform01(seed + 78, block);
    const float size = kind < 0.5f ? ends[static_cast<int>(place * 14.99f)]
                                   : std::ldexp(1.f, static_cast<int>(place * 276) - 149);
    const float share = uniform(0) < 0.2f ? 1.f : uniform(1);
    x.data()[i] = (uniform(2) < 0.5f ? -share : share) * std::min(size, largest);
  }
  return x;
}

bool finite(const RowMatrixXf& x) { return qlora::all_finite(x.data(), x.size()); }

template <class F>
void require_the_law(const std::string& name) {
  test::law(("finite: " + name).c_str(), [](std::uint64_t seed) {
    const RowMatrixXf x = any_weights(seed);
    // Asked to saturate it always ends well.
    const qlora::QuantizeOptions saturate{.non_finite = qlora::OnNonFinite::saturate};
    RC_ASSERT(finite(qlora::dequantize(qlora::quantize<F>(x, saturate))));
    RowMatrixXf y = x;
    y(1, 7) = std::numeric_limits<float>::infinity();
    y(2, 3) = std::numeric_limits<float>::quiet_NaN();
    RC_ASSERT(finite(qlora::dequantize(qlora::quantize<F>(y, saturate))));
    try {
      RC_ASSERT(finite(qlora::dequantize(qlora::quantize<F>(x))));
    } catch (const qlora::NumericError&) {
    }
    RC_ASSERT_THROWS_AS(qlora::quantize<F>(y), qlora::NumericError);
  });
}

}  // namespace

TEST_CASE("finite weights decode to finite ones or are refused, in every named format") {
  test::for_each_format([]<class F>(const std::string& name) { require_the_law<F>(name); });
}

TEST_CASE("finite weights decode to finite ones or are refused, with every scale") {
  using qlora::AffineScale, qlora::DoubleQuant, qlora::FloatScale, qlora::SignBit;
  using qlora::Dynamic8, qlora::SignedAbsoluteMaximum;
  require_the_law<Nf4With<FloatScale<qlora::float16>>>("float16");
  require_the_law<Nf4With<FloatScale<qlora::e4m3>>>("e4m3");
  require_the_law<test::Lopsided16>("an unsorted codebook");
  require_the_law<Nf4With<DoubleQuant<Dynamic8, 4, FloatScale<qlora::float16>>>>("nested float16");
  require_the_law<Nf4With<DoubleQuant<Dynamic8, 4>, SignedAbsoluteMaximum>>("signed, nested");
  require_the_law<Nf4With<SignBit<FloatScale<qlora::bfloat16>>, SignedAbsoluteMaximum>>("sign bit");
  require_the_law<Nf4With<qlora::PowerOfTwoScale<qlora::RoundScale::up>>>("power of two");
  require_the_law<Nf4With<qlora::TwoLevelScale<qlora::float16>>>("two levels");
  require_the_law<qlora::BlockFormat<qlora::UInt<4>, 16, AffineScale<float>>>("affine");
  require_the_law<qlora::BlockFormat<qlora::UInt<3>, 16, AffineScale<qlora::bfloat16>>>(
      "affine 16");
  require_the_law<qlora::OutlierPreserving<Nf4With<FloatScale<qlora::float16>>, std::ratio<1, 10>>>(
      "outliers");
}

TEST_CASE("a scale of the user's own that overflows is found in what comes back") {
  RowMatrixXf x = test::normal_matrix(4, 40, 3);
  x(2, 11) = 1e6f;
  const auto text =
      test::message_of<qlora::NumericError>([&] { (void)qlora::quantize<Nf4With<Unchecked>>(x); });
  // Its block begins earlier and is the first thing that comes back wrong.
  REQUIRE(test::contains(text, "row 2, column 0 (block 5)"));
  x(2, 11) = 1000.f;
  REQUIRE(finite(qlora::dequantize(qlora::quantize<Nf4With<Unchecked>>(x))));
}

TEST_CASE("a scale beyond its storage is refused by block, value and largest number") {
  RowMatrixXf x = test::normal_matrix(4, 40, 3);
  const auto refused = [&]<class F>() {
    return test::message_of<qlora::NumericError>([&] { (void)qlora::quantize<F>(x); });
  };
  x(2, 11) = 1e5f;
  const auto half = refused.operator()<Nf4With<qlora::FloatScale<qlora::float16>>>();
  REQUIRE(test::contains(half, "block 5: expected a scale of at most 65504"));
  REQUIRE(test::contains(half, "found 100000"));
  const auto eight = refused.operator()<Nf4With<qlora::FloatScale<qlora::e4m3>>>();
  REQUIRE(test::contains(eight, "at most 448"));
  x(2, 11) = 1e7f;  // 1e7 / 127 is beyond float16
  REQUIRE(test::contains(refused.operator()<qlora::formats::q8_0>(), "block 2"));
  x(2, 11) = -1e5f;
  REQUIRE(test::contains(refused.operator()<qlora::formats::q4_1>(), "expected a minimum"));
  using Own = qlora::BlockFormat<test::Ternary, 16, qlora::FloatScale<std::int16_t>>;
  REQUIRE(test::contains(refused.operator()<Own>(), "at most 32767"));
}

TEST_CASE("an outlier that bfloat16 can't hold is refused by row and column, or saturated") {
  using F = qlora::OutlierPreserving<Nf4With<qlora::FloatScale<float>>, std::ratio<1, 100>>;
  RowMatrixXf x = test::normal_matrix(4, 40, 3);
  x(3, 21) = -largest;
  const auto text = test::message_of<qlora::NumericError>([&] { (void)qlora::quantize<F>(x); });
  REQUIRE(test::contains(text, "row 3, column 21"));
  const auto w = qlora::quantize<F>(x, {.non_finite = qlora::OnNonFinite::saturate});
  REQUIRE(qlora::dequantize(w)(3, 21) == -qlora::bfloat16::largest);
}

TEST_CASE("saturation stops at what the format holds") {
  RowMatrixXf x = RowMatrixXf::Zero(1, 32);
  x(0, 5) = std::numeric_limits<float>::infinity();
  x(0, 6) = -1e30f;
  const qlora::QuantizeOptions saturate{.non_finite = qlora::OnNonFinite::saturate};
  const auto at = [&]<class F>(Index col) {
    return qlora::dequantize(qlora::quantize<F>(x, saturate))(0, col);
  };
  REQUIRE(at.operator()<test::Fp4Half>(5) == 65504.f);
  REQUIRE(at.operator()<test::Fp4Half>(6) == -65504.f);
  REQUIRE(at.operator()<qlora::formats::q8_0>(5) == 65504.f * 127);
  REQUIRE(at.operator()<qlora::formats::nf4>(5) == largest);
  REQUIRE(at.operator()<qlora::formats::nf4_dq>(5) >= largest / 32);
}

TEST_CASE(
    "scales that are too small for their storage lose at most twice the block's largest weight") {
  test::law("small", [](std::uint64_t seed, std::uint8_t exponent) {
    const float size = std::ldexp(1.f, -exponent % 130);
    const RowMatrixXf x = test::normal_matrix(1, 16, seed, 1) * size;
    const float absmax = x.cwiseAbs().maxCoeff();
    const auto error = [&]<class F>() {
      return (qlora::dequantize(qlora::quantize<F>(x)) - x).cwiseAbs().maxCoeff();
    };
    RC_ASSERT(error.operator()<Nf4With<qlora::FloatScale<qlora::float16>>>() <= 2 * absmax);
    RC_ASSERT(error.operator()<Nf4With<qlora::FloatScale<qlora::e4m3>>>() <= 2 * absmax);
    RC_ASSERT((error.operator()<Nf4With<qlora::SignBit<qlora::FloatScale<qlora::float16>>,
                                        qlora::SignedAbsoluteMaximum>>()) <= 2 * absmax);
  });
  // Below half of float16's smallest number nothing is left but zeros.
  const RowMatrixXf tiny = RowMatrixXf::Constant(1, 16, 2.9e-8f);
  const auto w = qlora::quantize<Nf4With<qlora::FloatScale<qlora::float16>>>(tiny);
  REQUIRE(qlora::dequantize(w).norm() == 0.f);
}
