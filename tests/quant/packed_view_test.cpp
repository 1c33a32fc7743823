#include "qlora/quant/packed_view.hpp"

#include <array>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "qlora/codebook/integer.hpp"
#include "qlora/codebook/learned.hpp"
#include "support/catch.hpp"

using qlora::Index;

namespace {

// Seven values of 3 bits; the eighth code has none.
struct Sevenths {
  static constexpr std::array values{-3.f, -2.f, -1.f, 0.f, 1.f, 2.f, 3.f};
};
using Three = qlora::BlockFormat<Sevenths, 4, qlora::FloatScale<float>>;
using Four = qlora::BlockFormat<qlora::FullInt<4>, 4, qlora::FloatScale<float>>;
using AnySize = qlora::BlockFormat<qlora::Int<8>, qlora::any_size, qlora::FloatScale<float>>;
using ByRow = qlora::BlockFormat<qlora::Learned<2, qlora::OneTable::per_row>, 4,
                                 qlora::DoubleQuant<qlora::Dynamic8, 2>>;

// A 2 x 3 matrix of the codes 0 to 5, the first in the high nibble, in blocks of four.
struct Small {
  std::array<std::uint8_t, 3> codes{0x01, 0x23, 0x45};
  std::array<float, 2> scales{8.f, 16.f};
  qlora::QuantizedView<Four> view{codes.data(), {scales.data()}, 2, 3, 0};
};

template <class F>
std::vector<float> decoded(const qlora::QuantizedView<F>& view, Index begin, Index count) {
  std::vector<float> out(static_cast<std::size_t>(count) + 1, 99.f);
  view.decode_range(begin, count, out.data());
  REQUIRE(out.back() == 99.f);
  out.pop_back();
  return out;
}

}  // namespace

static_assert(std::is_trivially_copyable_v<qlora::QuantizedView<ByRow>>);
// What is known at compile time takes no room.
static_assert(sizeof(qlora::QuantizedView<Four>) == 2 * sizeof(void*) + 3 * sizeof(Index));

TEST_CASE("a view over bytes of one's own reads them row by row, a block's scale over rows too") {
  const Small small;
  REQUIRE(small.view.size() == 6);
  REQUIRE(small.view.block_count() == 2);
  // FullInt's values are (code - 8) / 8.
  const std::vector<float> expected{-8, -7, -6, -5, -8, -6};
  REQUIRE(decoded(small.view, 0, 6) == expected);
  for (Index i = 0; i < 6; ++i)
    REQUIRE(small.view(i / 3, i % 3) == expected[static_cast<std::size_t>(i)]);
  REQUIRE(decoded(small.view, 3, 2) == std::vector<float>{-5, -8});
  REQUIRE(decoded(small.view, 6, 0).empty());
}

TEST_CASE("a block of a row is counted from the row's own start and cut at its end") {
  const std::array<std::uint8_t, 6> codes{0x01, 0x23, 0x45, 0x67, 0x89, 0xab};
  const std::array<float, 3> scales{8.f, 16.f, 32.f};
  const qlora::QuantizedView<Four> view{codes.data(), {scales.data()}, 2, 6, 4};
  float out[5] = {0, 0, 0, 0, 99};
  REQUIRE(view.decode_block(1, 0, out) == 4);
  // Its first two weights have the second block's scale, the others the third's.
  REQUIRE(std::vector<float>(out, out + 5) == std::vector<float>{-4, -2, 0, 4, 99});
  REQUIRE(view.decode_block(1, 1, out) == 2);
  REQUIRE(std::vector<float>(out, out + 5) == std::vector<float>{8, 12, 0, 4, 99});
}

TEST_CASE("a code without a value decodes to zero") {
  // Seven, six and seven again, of 3 bits each.
  const std::array<std::uint8_t, 2> codes{0b11111011, 0b10000000};
  const float scale = 2;
  const qlora::QuantizedView<Three> view{codes.data(), {&scale}, 1, 3, 4};
  REQUIRE(decoded(view, 0, 3) == std::vector<float>{0, 6, 0});
  REQUIRE(view(0, 0) == 0);
}

TEST_CASE("a view without a matrix is empty, and only a format of any size takes a block size") {
  const qlora::QuantizedView<Four> none;
  REQUIRE((none.rows() == 0 && none.cols() == 0 && none.size() == 0 && none.block_count() == 0));
  REQUIRE(none.codes() == nullptr);
  const qlora::QuantizedView<AnySize> no_size;
  REQUIRE((no_size.block_size() == 1 && no_size.block_count() == 0));
  REQUIRE(Small().view.block_size() == 4);
  const std::array<std::uint8_t, 5> codes{254, 127, 0, 254, 127};
  const std::array<float, 2> scales{1.f, 2.f};
  const qlora::QuantizedView<AnySize> view{codes.data(), {scales.data()}, 1, 5, 3};
  REQUIRE(view.block_size() == 3);
  REQUIRE(view.block_count() == 2);
  REQUIRE(decoded(view, 0, 5) == std::vector<float>{1, 0, -1, 2, 0});
}

TEST_CASE("a view that is moved asks for all its parts with their sizes and reads the new ones") {
  const std::vector<std::uint8_t> codes{0b00011011, 0b00011011};  // 2 x 4 codes of 2 bits
  const std::vector<std::uint8_t> scale_codes{255, 255};
  const std::vector<float> inner{2.f}, tables{0.f, 1.f, 2.f, 3.f, 4.f, 5.f, 6.f, 7.f};
  const qlora::QuantizedView<ByRow> view{
      codes.data(), {scale_codes.data(), {inner.data()}, 1.f}, 2, 4, 4, {tables.data()}};
  std::vector<std::pair<const void*, Index>> asked;
  std::vector<std::vector<std::uint8_t>> bytes;
  std::vector<std::vector<float>> floats;
  const auto moved = view.relocated([&](const auto* from, Index count) {
    asked.emplace_back(from, count);
    if constexpr (std::is_same_v<decltype(from), const float*>) {
      return static_cast<const float*>(floats.emplace_back(from, from + count).data());
    } else {
      return static_cast<const std::uint8_t*>(bytes.emplace_back(from, from + count).data());
    }
  });
  REQUIRE(asked ==
          std::vector<std::pair<const void*, Index>>{
              {codes.data(), 2}, {scale_codes.data(), 2}, {inner.data(), 1}, {tables.data(), 8}});
  REQUIRE(moved.codes() == bytes[0].data());
  REQUIRE((moved.rows() == 2 && moved.cols() == 4 && moved.block_count() == 2));
  // The highest code of the scales' map is 1: each scale is 1 * 2 + 1.
  const std::vector<float> expected{0, 3, 6, 9, 12, 15, 18, 21};
  REQUIRE(decoded(view, 0, 8) == expected);
  REQUIRE(decoded(moved, 0, 8) == expected);
}

#if QLORA_HAS_VECTORS
TEST_CASE("the table for products without decoding has a format's sixteen values") {
  const auto table = Small().view.lookup_table();
  for (int code = 0; code < 16; ++code)
    REQUIRE(table.values()[code] == static_cast<float>(code - 8) / 8);
}
#endif
