#include "qlora/quant/avx2.hpp"

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index;

// Where the flags name vectors there is nothing to choose at run time.
static_assert(!(QLORA_HAS_VECTORS && QLORA_HAS_RUNTIME_AVX2));

TEMPLATE_TEST_CASE("floats decode to the bits of the scalar path, from any place", "",
                   qlora::formats::nf4, qlora::formats::nf4_dq, qlora::formats::q4_1,
                   qlora::formats::nvfp4, qlora::formats::iq4_nl) {
  const Index cols = 83;
  const auto w = qlora::quantize<TestType>(test::normal_matrix(7, cols, 1));
  const auto view = w.view();
  for (const Index begin : {0, 1, 2, 63, 64, 65, 100})
    for (const Index count : {0, 1, 7, 8, 9, 64, 130, 400}) {
      std::vector<float> out(static_cast<std::size_t>(count) + 1, 77.f);
      // Decoding to double goes by the scalar path.
      std::vector<double> expected(static_cast<std::size_t>(count));
      view.decode_range(begin, count, out.data());
      view.decode_range(begin, count, expected.data());
      for (Index i = 0; i < count; ++i)
        REQUIRE(static_cast<double>(out[static_cast<std::size_t>(i)]) ==
                expected[static_cast<std::size_t>(i)]);
      REQUIRE(out.back() == 77.f);
    }
}
