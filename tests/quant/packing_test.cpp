#include "qlora/quant/packing.hpp"

#include <vector>

#include "support/law.hpp"

namespace {

template <int Bits>
void codes_come_back() {
  test::law("codes of " + std::to_string(Bits) + " bits", [](std::vector<std::uint8_t> codes) {
    const auto count = static_cast<qlora::Index>(codes.size());
    for (auto& code : codes) code &= static_cast<std::uint8_t>((1u << Bits) - 1u);
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(qlora::packed_bytes(Bits, count)), 0);
    for (qlora::Index i = 0; i < count; ++i)
      qlora::write_code<Bits>(bytes.data(), i, codes[static_cast<std::size_t>(i)]);
    for (qlora::Index i = 0; i < count; ++i)
      RC_ASSERT(qlora::read_code<Bits>(bytes.data(), i) == codes[static_cast<std::size_t>(i)]);
  });
}

}  // namespace

TEST_CASE("written codes are read back at every width") {
  codes_come_back<1>();
  codes_come_back<2>();
  codes_come_back<3>();
  codes_come_back<4>();
  codes_come_back<5>();
  codes_come_back<6>();
  codes_come_back<7>();
  codes_come_back<8>();
}

TEST_CASE("the first code has the highest bits") {
  std::uint8_t four[2] = {0, 0};
  qlora::write_code<4>(four, 0, 0x7);
  qlora::write_code<4>(four, 1, 0xa);
  qlora::write_code<4>(four, 2, 0x3);
  REQUIRE(four[0] == 0x7a);
  REQUIRE(four[1] == 0x30);
  std::uint8_t three[3] = {0, 0, 0};
  for (int i = 0; i < 8; ++i) qlora::write_code<3>(three, i, static_cast<std::uint8_t>(i));
  // 000 001 010 011 100 101 110 111
  REQUIRE(three[0] == 0b00000101);
  REQUIRE(three[1] == 0b00111001);
  REQUIRE(three[2] == 0b01110111);
}

TEST_CASE("bytes are rounded up") {
  static_assert(qlora::packed_bytes(4, 0) == 0 && qlora::packed_bytes(4, 1) == 1 &&
                qlora::packed_bytes(4, 2) == 1);
  static_assert(qlora::packed_bytes(3, 8) == 3 && qlora::packed_bytes(3, 9) == 4 &&
                qlora::packed_bytes(8, 5) == 5);
  REQUIRE(qlora::packed_bytes(1, 9) == 2);
}
