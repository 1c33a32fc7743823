#include "qlora/codebook/integer.hpp"

#include "support/catch.hpp"

TEST_CASE("Int4 has the 15 levels k / 7") {
  REQUIRE(qlora::Int4::values.size() == 15);
  for (int k = -7; k <= 7; ++k)
    REQUIRE(qlora::Int4::values[static_cast<std::size_t>(k + 7)] == static_cast<float>(k) / 7.f);
}

TEST_CASE("every width has an odd number of levels that fits its bits") {
  static_assert(qlora::Int<2>::values.size() == 3 && qlora::code_bits<qlora::Int<2>> == 2);
  static_assert(qlora::Int<3>::values.size() == 7 && qlora::code_bits<qlora::Int<3>> == 3);
  static_assert(qlora::Int<8>::values.size() == 255 && qlora::code_bits<qlora::Int<8>> == 8);
  REQUIRE(qlora::Int<8>::values[127] == 0.f);
}

TEST_CASE("all sixteen levels: k / 8, without +1; and whole numbers over a minimum") {
  using Full = qlora::FullInt<4>;
  REQUIRE(Full::values.size() == 16);
  REQUIRE(Full::values.front() == -1.f);
  REQUIRE(Full::values.back() == 0.875f);
  REQUIRE(qlora::decode<Full>(qlora::encode<Full>(1.f)) == 0.875f);
  REQUIRE(qlora::largest_value<qlora::UInt<4>> == 15.f);
  REQUIRE(qlora::encode<qlora::UInt<4>>(-3.f) == 0);
}
