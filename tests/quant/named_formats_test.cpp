#include "qlora/quant/named_formats.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/formats.hpp"
#include "support/golden.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

namespace {

// The values of a matrix's codes, ascending.
template <class F>
std::vector<float> values_of(const qlora::QuantizedMatrix<F>& w) {
  using Code = typename F::CodebookType;
  std::vector<float> values;
  if constexpr (qlora::RuntimeCodebook<Code>) {
    values = w.codebook().values;
  } else {
    for (const auto v : Code::values) values.push_back(static_cast<float>(v));
  }
  std::sort(values.begin(), values.end());
  return values;
}

// Half the widest gap of a codebook, or the distance from what absmax maps to beyond its end.
template <class F>
float widest_error(const qlora::QuantizedMatrix<F>& w) {
  const std::vector<float> values = values_of(w);
  const float largest = std::abs(F::reference_value);
  float widest = std::max(largest - values.back(), largest + values.front());
  for (std::size_t i = 1; i < values.size(); ++i)
    widest = std::max(widest, (values[i] - values[i - 1]) / 2);
  return widest;
}

// What storing the scale of a block may lose: `absmax` is the block's largest magnitude, `spread`
// the matrix's.
template <class Scale>
struct ScaleLoss {  // half an ulp of a float16, or of its smallest number
  static float of(float absmax, float) { return absmax * 2e-3f + 1e-7f; }
};
template <qlora::RoundScale Rounding>
struct ScaleLoss<qlora::PowerOfTwoScale<Rounding>> {  // rounded down, a quarter saturates
  static float of(float absmax, float) { return absmax / 4; }
};
template <class T>
struct ScaleLoss<qlora::TwoLevelScale<T>> {  // half an ulp of an E4M3, or of its smallest number
  static float of(float absmax, float spread) { return absmax / 16 + spread / 448 / 512; }
};
template <class Map, int BlockSize, class Inner>
struct ScaleLoss<qlora::DoubleQuant<Map, BlockSize, Inner>> {  // half a gap of the 8-bit map
  static float of(float, float spread) { return spread * 0.9f / 64; }
};
template <class Inner>
struct ScaleLoss<qlora::SignBit<Inner>> : ScaleLoss<Inner> {};

// Whether blocks have a minimum, from which codes count upwards.
template <class Scale>
inline constexpr bool has_minimum = false;
template <class T>
inline constexpr bool has_minimum<qlora::AffineScale<T>> = true;

template <class Scale>
inline constexpr bool stores_halves = false;
template <>
inline constexpr bool stores_halves<qlora::FloatScale<qlora::float16>> = true;
template <>
inline constexpr bool stores_halves<qlora::AffineScale<qlora::float16>> = true;

// Weights of a law's matrix. Scales in half precision get full blocks: that of a short one may be
// so small that it underflows, where the laws do not hold.
template <class F>
Index drawn_size(std::uint16_t drawn, Index most) {
  if constexpr (requires { typename F::InnerFormat; }) {
    return drawn_size<typename F::InnerFormat>(drawn, most);
  } else {
    const Index size = drawn % most + 1;
    return stores_halves<typename F::ScaleType>
               ? (size + F::block_size - 1) / F::block_size * F::block_size
               : size;
  }
}

// The packed part of a matrix: all of it, or what its outliers leave.
template <class F>
const qlora::QuantizedMatrix<F>& packed(const qlora::QuantizedMatrix<F>& w) {
  return w;
}
template <class F, class Share>
const qlora::QuantizedMatrix<F>& packed(
    const qlora::QuantizedMatrix<qlora::OutlierPreserving<F, Share>>& w) {
  return w.rest();
}

float size_of(float scale) { return std::abs(scale); }
float size_of(qlora::ScaleAndOffset scale) { return scale.scale; }
float size_of(qlora::TwoFactors scale) { return scale.block * scale.tensor; }

std::vector<std::uint8_t> bytes_of_hex(const std::string& text) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i < text.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

qlora::float16 half_at(const std::vector<std::uint8_t>& bytes, std::size_t at) {
  return qlora::float16::from_bits(static_cast<std::uint16_t>(bytes[at] | (bytes[at + 1] << 8)));
}

}  // namespace

// Whether scales are coded in turn, as in GGUF's K types.
template <class Scale>
constexpr bool has_supers = requires(typename Scale::View view) {
  view.supers;
};

TEST_CASE("every weight comes back within its codebook's gap times its scale, in every format") {
  test::for_each_format([&]<class F>(const std::string& name) {
    test::law(name, [](std::uint64_t seed, std::uint16_t size) {
      const RowMatrixXf x = test::normal_matrix(1, drawn_size<F>(size, 900), seed, 0.02);
      const auto whole = qlora::quantize<F>(x);
      const auto& w = packed(whole);
      using Scale = typename std::remove_cvref_t<decltype(w)>::FormatType::ScaleType;
      const RowMatrixXf back = qlora::dequantize(whole);
      const auto view = w.view();
      if constexpr (has_supers<Scale>) {
        // The scale with the least error of the block may cut single weights off: the sum is bounded.
        const double share = F::code_bits == 2 ? 0.45 : F::code_bits == 3 ? 0.25 : 0.12;
        RC_ASSERT((x - back).norm() <= static_cast<float>(share) * x.norm());
        return;
      }
      const float widest = has_minimum<Scale> ? 0.5f : widest_error(w);
      for (Index begin = 0; begin < x.cols(); begin += F::block_size) {
        const Index n = std::min<Index>(F::block_size, x.cols() - begin);
        const float absmax = x.row(0).segment(begin, n).cwiseAbs().maxCoeff();
        const float stored = size_of(view.scale()(begin / F::block_size));
        // What the scale lost counts fully at the codebook's end.
        const float lost = ScaleLoss<Scale>::of(absmax, x.cwiseAbs().maxCoeff());
        RC_ASSERT((x - back).row(0).segment(begin, n).cwiseAbs().maxCoeff() <=
                  widest * stored + lost);
      }
    });
  });
}

TEST_CASE("weights times a power of two give the same codes and that power of the weights") {
  test::for_each_format([&]<class F>(const std::string& name) {
    test::law(name + " scaled", [](std::uint64_t seed, std::uint16_t size) {
      // Scales of scales are halves: with small weights they would lose bits, with large ones sums of
      // sixth powers would overflow.
      const double spread = [] {
        if constexpr (requires { typename F::ScaleType; })
          return has_supers<typename F::ScaleType> ? 64 : 0.5;
        return 0.5;
      }();
      const RowMatrixXf x = test::normal_matrix(1, drawn_size<F>(size, 500), seed, spread);
      const float power = std::ldexp(1.f, static_cast<int>(seed % 9) - 4);
      const auto a = qlora::quantize<F>(x), b = qlora::quantize<F>(RowMatrixXf(power * x));
      RC_ASSERT(packed(a).codes() == packed(b).codes());
      const RowMatrixXf scaled = power * qlora::dequantize(a);
      RC_ASSERT(test::same_bits(scaled, qlora::dequantize(b)));
    });
  });
}

TEMPLATE_TEST_CASE("quantizing decoded weights again gives the same codes and scales", "",
                   qlora::formats::nf4, qlora::formats::fp4, qlora::formats::fp4_e2m1,
                   qlora::formats::fp4_e3m0, qlora::formats::int4, qlora::formats::af4,
                   qlora::formats::nf3, qlora::formats::nf2, qlora::formats::nf8,
                   qlora::formats::mxfp4) {
  test::law("again", [](std::uint64_t seed, std::uint16_t size) {
    const auto once = qlora::quantize<TestType>(test::normal_matrix(1, size % 700 + 1, seed));
    const auto twice = qlora::quantize<TestType>(qlora::dequantize(once));
    // FP4 has two zeros: codes are the same when they stand for the same value.
    using Code = typename TestType::CodebookType;
    for (Index i = 0; i < once.cols(); ++i)
      RC_ASSERT(
          qlora::decode<Code>(qlora::read_code<TestType::code_bits>(once.codes().data(), i)) ==
          qlora::decode<Code>(qlora::read_code<TestType::code_bits>(twice.codes().data(), i)));
    if constexpr (requires { once.scale().exponents; }) {
      RC_ASSERT(once.scale().exponents == twice.scale().exponents);
    } else {
      RC_ASSERT(once.scale().values == twice.scale().values);
    }
  });
}

TEST_CASE("GGUF's formats give the bytes of ggml's quantizers, and decode theirs bit for bit") {
  const auto golden = test::golden("gguf_blocks.json");
  const auto input = test::floats_of_bits(golden["input"]);
  for (const auto& each : golden["cases"]) {
    const auto type = each["type"].get<std::string>();
    const auto packed = bytes_of_hex(each["packed"].get<std::string>());
    const auto decoded = test::floats_of_bits(each["decoded"]);
    INFO(type);
    const auto nibble = [](const std::uint8_t* codes, Index i) {
      return static_cast<std::uint8_t>(i < 16 ? codes[i] & 15 : codes[i - 16] >> 4);
    };
    if (type == "IQ4_NL" || type == "MXFP4") {
      const std::size_t head = type == "IQ4_NL" ? 2 : 1, size = head + 16;
      for (std::size_t block = 0; block < packed.size() / size; ++block)
        for (Index i = 0; i < 32; ++i) {
          const auto code = nibble(packed.data() + block * size + head, i);
          const float scale =
              head == 2 ? static_cast<float>(half_at(packed, block * size))
                        : static_cast<float>(qlora::e8m0::from_bits(packed[block * size]));
          const float value = qlora::scaled(
              head == 2 ? qlora::decode<qlora::IQ4NL>(code) : qlora::decode<qlora::E2M1>(code),
              scale);
          REQUIRE(value == decoded[block * 32 + static_cast<std::size_t>(i)]);
        }
      continue;
    }
    const auto check = [&]<class F>(std::size_t head) {
      const auto w = qlora::quantize<F>(input.data(), 1, static_cast<Index>(input.size()));
      const std::size_t size = head + (F::code_bits == 8 ? 32 : 16);
      REQUIRE(packed.size() == input.size() / 32 * size);
      for (std::size_t block = 0; block < input.size() / 32; ++block) {
        const std::uint8_t* bytes = packed.data() + block * size;
        if constexpr (requires { w.scale().steps; }) {
          REQUIRE(w.scale().steps[block].scale.bits == half_at(packed, block * size).bits);
          REQUIRE(w.scale().steps[block].minimum.bits == half_at(packed, block * size + 2).bits);
        } else {
          REQUIRE(w.scale().values[block].bits == half_at(packed, block * size).bits);
        }
        for (Index i = 0; i < 32; ++i) {
          const auto code =
              qlora::read_code<F::code_bits>(w.codes().data(), static_cast<Index>(block) * 32 + i);
          const int expected =
              F::code_bits == 8
                  ? static_cast<std::int8_t>(bytes[head + static_cast<std::size_t>(i)]) + 128
                  : nibble(bytes + head, i);
          REQUIRE(static_cast<int>(code) == expected);
        }
      }
      const RowMatrixXf back = qlora::dequantize(w);
      REQUIRE(test::same_bits(back.data(), decoded.data(), back.size()));
    };
    if (type == "Q4_0") check.operator()<qlora::formats::q4_0>(2);
    if (type == "Q4_1") check.operator()<qlora::formats::q4_1>(4);
    if (type == "Q8_0") check.operator()<qlora::formats::q8_0>(2);
  }
}

TEST_CASE("a signed scale lets the largest weight of a block come back exactly") {
  const RowMatrixXf x = test::normal_matrix(1, 640, 11);
  using Exact = qlora::BlockFormat<qlora::BOF4S<64>, 64, qlora::FloatScale<float>,
                                   qlora::SignedAbsoluteMaximum>;
  const RowMatrixXf back = qlora::dequantize(qlora::quantize<Exact>(x));
  for (Index begin = 0; begin < 640; begin += 64) {
    Index at = 0;
    (void)x.row(0).segment(begin, 64).cwiseAbs().maxCoeff(&at);
    REQUIRE(back(0, begin + at) == x(0, begin + at));
  }
}

TEST_CASE("MXFP4's exponent is OCP's: floor(log2 absmax) - 2, clamped, 0 for zeros") {
  const auto exponent = [](float absmax) {
    return static_cast<int>(
        qlora::PowerOfTwoScale<>::store(std::vector<float>{absmax}, 6.f).exponents[0]);
  };
  REQUIRE(exponent(1.f) == 125);
  REQUIRE(exponent(7.99f) == 127);
  REQUIRE(exponent(8.f) == 128);
  REQUIRE(exponent(0.f) == 0);
  REQUIRE(exponent(1e-45f) == 0);
  REQUIRE(exponent(3e38f) == 252);
  using Up = qlora::PowerOfTwoScale<qlora::RoundScale::up>;
  for (const float absmax : {1.f, 5.9f, 6.f, 6.1f, 1e-20f}) {
    const auto stored = Up::store(std::vector<float>{absmax}, 6.f);
    const float scale = stored.view()(0);
    REQUIRE(absmax <= 6 * scale);
    REQUIRE(absmax > 3 * scale);
  }
}

TEST_CASE("NVFP4 has one factor a matrix; a block far below the largest decodes to zeros") {
  RowMatrixXf x = RowMatrixXf::Constant(1, 32, 1e-7f);
  x(0, 3) = 300.f;
  const auto w = qlora::quantize<qlora::formats::nvfp4>(x);
  REQUIRE(w.scale().tensor == 300.f / (6 * 448));
  REQUIRE(static_cast<float>(w.scale().values[0]) == 448.f);
  const RowMatrixXf back = qlora::dequantize(w);
  REQUIRE(std::abs(back(0, 3) - 300.f) < 1e-4f);
  REQUIRE(back.rightCols(16).cwiseAbs().maxCoeff() == 0.f);
  REQUIRE(
      qlora::dequantize(qlora::quantize<qlora::formats::nvfp4>(RowMatrixXf::Zero(2, 16))).norm() ==
      0.f);
}
