#include "qlora/optim/moment_code.hpp"

#include <cmath>
#include <vector>

#include "qlora/codebook/dynamic.hpp"
#include "qlora/optim/state_storage.hpp"
#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Dynamic8, qlora::UnsignedDynamic8, qlora::Index;

TEST_CASE("a code's value has its number's sign, or is the nearest to it") {
  test::law("sign", [](std::uint16_t steps, bool negative) {
    const float number = (static_cast<float>(steps) / 65536.f) * (negative ? -1.f : 1.f);
    const std::uint8_t code = qlora::encode_moment<Dynamic8>(number, 1.f);
    const float value = qlora::decode<Dynamic8>(code);
    RC_ASSERT(number == 0 || !(number < 0 && value >= 0));
    RC_ASSERT(number == 0 || !(number > 0 && value < 0));
    const std::uint8_t nearest = qlora::encode<Dynamic8>(number);
    if ((qlora::decode<Dynamic8>(nearest) < 0) == (number < 0)) RC_ASSERT(code == nearest);
  });
}

TEST_CASE("a number that rounding takes across zero keeps its side") {
  // Dynamic8's values about 0 are far apart against such numbers.
  for (const float number : {1e-9f, -1e-9f}) {
    const float value = qlora::decode<Dynamic8>(qlora::encode_moment<Dynamic8>(number, 1.f));
    REQUIRE((value < 0) == (number < 0));
  }
  REQUIRE(qlora::decode<Dynamic8>(qlora::encode_moment<Dynamic8>(0.f, 1.f)) == 0);
  REQUIRE(qlora::first_not_negative<UnsignedDynamic8> == 0);
  REQUIRE(qlora::decode<Dynamic8>(qlora::first_not_negative<Dynamic8>) == 0);
}

TEST_CASE("a block of zeros has the code of 0") {
  REQUIRE(qlora::moment_in_units(0.f, 0.f) == 0);
  REQUIRE(qlora::decode<Dynamic8>(qlora::encode_moment<Dynamic8>(0.f, 0.f)) == 0);
  REQUIRE(qlora::decode<UnsignedDynamic8>(qlora::encode_moment<UnsignedDynamic8>(0.f, 0.f)) == 0);
}

TEST_CASE("the CPU's state has the codes of single numbers") {
  test::law("blocks", [](std::uint64_t seed, std::uint16_t size, bool is_signed) {
    const Index count = size % 600 + 1;
    qlora::RowMatrixXf x = test::normal_matrix(1, count, seed);
    if (!is_signed) x = x.cwiseAbs();
    using State = qlora::Blockwise8bit;
    std::vector<std::byte> bytes(static_cast<std::size_t>(State::bytes(count)));
    State::store(x.data(), count, 0, count, is_signed, {}, bytes.data());
    const auto* codes = reinterpret_cast<const std::uint8_t*>(bytes.data()) +
                        (count + State::block - 1) / State::block * 4;
    for (Index begin = 0; begin < count; begin += State::block) {
      const Index n = std::min(State::block, count - begin);
      const float largest = x.row(0).segment(begin, n).cwiseAbs().maxCoeff();
      for (Index i = begin; i < begin + n; ++i)
        RC_ASSERT(codes[i] == (is_signed
                                   ? qlora::encode_moment<Dynamic8>(x(0, i), largest)
                                   : qlora::encode_moment<UnsignedDynamic8>(x(0, i), largest)));
    }
  });
}
