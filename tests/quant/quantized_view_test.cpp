#include "qlora/quant/quantized_view.hpp"

#include <type_traits>
#include <vector>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index;

static_assert(std::is_trivially_copyable_v<qlora::QuantizedView<qlora::formats::nf4_dq>>);

TEMPLATE_TEST_CASE("one weight, a block and a range decode to the same bits", "",
                   QLORA_TEST_FORMATS) {
  test::law("same bits",
            [](std::uint64_t seed, std::uint8_t rows, std::uint8_t cols, std::uint16_t from) {
              const qlora::RowMatrixXf dense = test::normal_matrix(rows % 12 + 1, cols + 1, seed);
              const auto w = qlora::quantize<TestType>(dense);
              const auto view = w.view();
              const qlora::RowMatrixXf all = qlora::dequantize(w);
              for (Index row = 0; row < view.rows(); ++row)
                for (Index col = 0; col < view.cols(); ++col) {
                  const float value = view(row, col);
                  RC_ASSERT(test::same_bits(&value, &all(row, col), 1));
                }
              const Index begin = from % view.size();
              std::vector<float> range(static_cast<std::size_t>(view.size() - begin));
              view.decode_range(begin, view.size() - begin, range.data());
              RC_ASSERT(test::same_bits(range.data(), all.data() + begin, view.size() - begin));
              std::vector<float> block(static_cast<std::size_t>(view.block_size()));
              for (Index b = 0; b * view.block_size() < view.cols(); ++b) {
                const Index n = view.decode_block(0, b, block.data());
                RC_ASSERT(test::same_bits(block.data(), &all(0, b * view.block_size()), n));
              }
            });
}

// A caller's sum must not fuse into the decode, whatever the flags: `code * scale` is rounded
// before it is added. The loop is the plain one that GCC vectorizes; the expected sum rounds
// through a volatile.
TEMPLATE_TEST_CASE("a caller's sum does not fuse into the decode", "", qlora::formats::nf4,
                   qlora::formats::nf4_dq, test::Int8Rows) {
  int different = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto w = qlora::quantize<TestType>(test::normal_matrix(8, 96, seed));
    const auto view = w.view();
    float sum[8] = {}, expected[8] = {};
    for (Index col = 0; col < view.cols(); ++col)
      for (Index row = 0; row < 8; ++row) sum[row] += view(row, col);
    for (Index row = 0; row < 8; ++row)
      for (Index col = 0; col < view.cols(); ++col) {
        const volatile float value = view(row, col);
        expected[row] += value;
      }
    for (int row = 0; row < 8; ++row) different += sum[row] == expected[row] ? 0 : 1;
  }
  REQUIRE(different == 0);
}

TEST_CASE("decoding to a narrow type rounds once, from the float") {
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(3, 100, 9));
  const auto narrow = [&] {
    std::vector<qlora::bfloat16> out(300);
    w.view().decode_range(0, 300, out.data());
    return out;
  }();
  const qlora::RowMatrixXf wide = qlora::dequantize(w);
  for (Index i = 0; i < 300; ++i)
    REQUIRE(narrow[static_cast<std::size_t>(i)].bits == qlora::bfloat16(wide.data()[i]).bits);
}
