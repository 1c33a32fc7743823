#include "qlora/quant/encode.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "qlora/quant/named_formats.hpp"
#include "support/catch.hpp"
#include "support/formats.hpp"
#include "support/numbers.hpp"

using qlora::Index;

// Thresholds and their neighbours, codes' values, what is beyond all of them, and numbers between.
template <class Code>
std::vector<float> telling_numbers() {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> numbers{0.f,    -0.f,    infinity, -infinity, std::nanf(""),
                             1e-42f, -1e-42f, 3e38f,    -3e38f};
  for (int t = 0; t + 1 < qlora::code_count<Code>; ++t) {
    const float threshold = qlora::thresholds<Code>.at[t];
    for (const float x :
         {threshold, std::nextafter(threshold, infinity), std::nextafter(threshold, -infinity)})
      numbers.push_back(x);
  }
  for (int code = 0; code < qlora::code_count<Code>; ++code)
    numbers.push_back(qlora::decode<Code>(static_cast<std::uint8_t>(code)));
  const qlora::RowMatrixXf random = test::normal_matrix(1, 4001, 1, 0.7);
  numbers.insert(numbers.end(), random.data(), random.data() + random.size());
  return numbers;
}

TEMPLATE_TEST_CASE("vectors of numbers get the codes of single ones, ties and NaN included", "",
                   qlora::NF4, qlora::FP4, qlora::Int4, qlora::Dynamic8, (qlora::NormalFloat<8, 0>),
                   qlora::Int<8>, qlora::Int<3>, test::Ternary, test::Lopsided,
                   qlora::formats::q8_0::CodebookType, qlora::formats::nvfp4::CodebookType,
                   qlora::formats::nf2::CodebookType) {
  const std::vector<float> numbers = telling_numbers<TestType>();
  // Every start, so that each number meets each lane and the tail.
  for (std::size_t first = 0; first < 17; ++first) {
    const std::size_t count = numbers.size() - first;
    std::vector<std::uint8_t> codes(count);
    qlora::simd::encode_values<TestType>(numbers.data() + first, static_cast<Index>(count),
                                         codes.data());
    for (std::size_t i = 0; i < count; ++i) {
      INFO(numbers[first + i]);
      REQUIRE(codes[i] == qlora::encode<TestType>(numbers[first + i]));
    }
  }
}

TEMPLATE_TEST_CASE("packed codes are read back, from any position", "",
                   (std::integral_constant<int, 2>), (std::integral_constant<int, 3>),
                   (std::integral_constant<int, 4>), (std::integral_constant<int, 8>)) {
  constexpr int bits = TestType::value;
  for (const Index begin : {0, 1, 2, 3, 7, 8}) {
    const Index count = 61;
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(count)),
        packed(static_cast<std::size_t>(qlora::packed_bytes(bits, begin + count)), 0);
    for (std::size_t i = 0; i < codes.size(); ++i)
      codes[i] = static_cast<std::uint8_t>((i * 37 + 11) % (1u << bits));
    qlora::simd::pack_codes<bits>(codes.data(), begin, count, packed.data());
    for (Index i = 0; i < count; ++i)
      REQUIRE(qlora::read_code<bits>(packed.data(), begin + i) ==
              codes[static_cast<std::size_t>(i)]);
  }
}
