#include "qlora/codebook/runtime_table.hpp"

#include <limits>
#include <vector>

#include "qlora/codebook/normal_float.hpp"
#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using Storage = qlora::RuntimeTable<2>::Storage;

static_assert(qlora::RuntimeCodebook<qlora::RuntimeTable<4>> &&
              !qlora::LearnedCodebook<qlora::RuntimeTable<4>> &&
              qlora::code_bits<qlora::RuntimeTable<3>> == 3);

TEST_CASE("a given table of fewer values than codes repeats its last one") {
  const Storage table(std::vector<float>{-2.f, 1.f});
  REQUIRE(table.values == std::vector<float>{-2.f, 1.f, 1.f, 1.f});
  REQUIRE(table.bytes() == 16);
  REQUIRE(table.view()(3, 5) == 1.f);
  REQUIRE(table.view().encode(1.f, 5) == 1);  // of equal values the lowest code
  REQUIRE(table.view().encode(-0.5f, 5) == 0);
}

TEST_CASE(
    "the extreme of a given table has its sign, and of equal magnitudes is the positive one") {
  const auto extreme = [](std::vector<float> values) {
    return Storage(std::move(values)).extreme();
  };
  REQUIRE(extreme({-3.f, 0.f, 2.f}) == -3.f);
  REQUIRE(extreme({-3.f, 0.f, 3.f}) == 3.f);
  REQUIRE(extreme({-3.f, -1.f}) == -3.f);
  REQUIRE(extreme({0.f, 0.5f}) == 0.5f);
}

TEST_CASE("a given table fits as long as what was checked when it was made still holds") {
  const Storage table(std::vector<float>{-1.f, 0.f, 0.f, 2.f});
  REQUIRE((table.fits(0) && table.fits(1000)));
  REQUIRE(!Storage().fits(0));
  const auto changed = [&](auto change) {
    Storage copy = table;
    change(copy.values);
    return copy.fits(1);
  };
  REQUIRE(!changed([](auto& values) { values.pop_back(); }));
  REQUIRE(!changed([](auto& values) { values.push_back(3.f); }));
  REQUIRE(!changed([](auto& values) { std::swap(values[0], values[3]); }));
  REQUIRE(!changed([](auto& values) { values.assign(4, 0.f); }));
  REQUIRE(!changed([](auto& values) { values[3] = std::numeric_limits<float>::infinity(); }));
  REQUIRE(changed([](auto& values) { values[3] = 0.f; }));
}

TEST_CASE("a table that can't be used is refused with the value, what was expected and found") {
  const auto refused = [](std::vector<float> values) {
    return test::message_of<qlora::FormatError>([&] { (void)Storage(values); });
  };
  REQUIRE(refused({}) == "RuntimeTable: expected 2 to 4 values, found 0");
  REQUIRE(refused({1.f, std::numeric_limits<float>::infinity()}) ==
          "RuntimeTable: value 1: expected a finite number, found inf");
  REQUIRE(refused({0.5f, 0.25f}) ==
          "RuntimeTable: value 1: expected at least 0.5, the value before, found 0.25");
  REQUIRE(refused({0.f, -0.f, 0.f}) == "RuntimeTable: expected a value that is not zero");
}

TEST_CASE("a table of a codebook's values has the codebook's codes and values") {
  const qlora::RuntimeTable<4>::Storage table(
      std::vector<float>(qlora::NF4::values.begin(), qlora::NF4::values.end()));
  test::law("NF4", [&](std::int32_t at) {
    const float x = 1.25f * static_cast<float>(at) / 2147483648.f;
    const std::uint8_t code = table.view().encode(x, 0);
    RC_ASSERT(code == qlora::encode<qlora::NF4>(x));
    RC_ASSERT(table.view()(code, 0) == qlora::decode<qlora::NF4>(code));
  });
}
