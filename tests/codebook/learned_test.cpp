#include "qlora/codebook/learned.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/law.hpp"

using qlora::Index;
using ByMatrix = qlora::Learned<2>;
using ByRow = qlora::Learned<2, qlora::OneTable::per_row>;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity(),
                no_number = std::numeric_limits<float>::quiet_NaN();

// Two rows of ascending values.
const ByRow::Storage two_rows{{-1.f, -0.5f, 0.25f, 1.f, -8.f, 0.f, 4.f, 8.f}};

}  // namespace

static_assert(qlora::LearnedCodebook<ByMatrix> && qlora::LearnedCodebook<ByRow>);
static_assert(qlora::code_bits<qlora::Learned<8>> == 8 && qlora::Learned<8>::count == 256);
static_assert(qlora::mid_point(1.f, 2.f) == 1.5f &&
              qlora::mid_point(qlora::largest_float, qlora::largest_float) == qlora::largest_float);

TEST_CASE("a learned table fits a matrix if it has the values of its rows and all are finite") {
  REQUIRE(ByMatrix::Storage{{1.f, 2.f, 3.f, 4.f}}.fits(0));
  REQUIRE(ByMatrix::Storage{{1.f, 2.f, 3.f, 4.f}}.fits(7));
  REQUIRE(!ByMatrix::Storage{}.fits(0));
  REQUIRE(!ByMatrix::Storage{{1.f, 2.f, 3.f, 4.f, 5.f}}.fits(1));
  REQUIRE(ByRow::Storage{}.fits(0));
  REQUIRE(two_rows.fits(2));
  REQUIRE(!two_rows.fits(1));
  for (const float broken : {infinity, -infinity, no_number}) {
    auto table = two_rows;
    table.values[5] = broken;
    REQUIRE(!table.fits(2));
  }
  REQUIRE(two_rows.bytes() == 32);
}

TEST_CASE("a view reads and encodes by the table of the row, or by the only one there is") {
  const auto by_row = two_rows.view();
  REQUIRE(by_row(2, 0) == 0.25f);
  REQUIRE(by_row(2, 1) == 4.f);
  REQUIRE(by_row.encode(1.f, 0) == 3);
  REQUIRE(by_row.encode(1.f, 1) == 1);
  const ByMatrix::Storage one{{-1.f, -0.5f, 0.25f, 1.f}};
  REQUIRE(one.view()(2, 100) == 0.25f);
  REQUIRE(one.view().encode(1.f, 100) == 3);
}

TEST_CASE("a learned tie takes the lower value, infinities the ends and NaN the lowest") {
  const auto view = two_rows.view();
  const qlora::TableEncoder encoder(std::span(two_rows.values).last(4));
  for (const auto& [x, code] : std::vector<std::pair<float, int>>{
           {-4.f, 0}, {2.f, 1}, {6.f, 2}, {infinity, 3}, {-infinity, 0}, {no_number, 0}}) {
    INFO(x);
    REQUIRE(view.encode(x, 1) == code);
    REQUIRE(encoder(x) == code);
  }
  REQUIRE(view.encode(std::nextafter(2.f, 3.f), 1) == 2);
}

TEST_CASE("the encoder of a table gives the codes of its view, and no value is nearer") {
  using Eight = qlora::Learned<3>;
  test::law("codes", [](std::int32_t at) {
    Eight::Storage table;
    for (int i = 0; i < 8; ++i)
      table.values.push_back(static_cast<float>(*rc::gen::inRange(-1000, 1000)) / 1000);
    std::sort(table.values.begin(), table.values.end());
    const float x = static_cast<float>(at) / 2147483648.f;
    const std::uint8_t code = table.view().encode(x, 0);
    RC_ASSERT(code == qlora::TableEncoder(table.values)(x));
    for (const float value : table.values)
      RC_ASSERT(std::abs(table.view()(code, 0) - x) <= std::abs(value - x) + 2e-7f);
  });
}

TEST_CASE("a moved view asks for as many numbers as its tables have") {
  std::vector<std::pair<const float*, Index>> asked;
  const auto move = [&](const float* from, Index count) {
    asked.emplace_back(from, count);
    return from + 1;
  };
  const ByMatrix::Storage one{{-1.f, -0.5f, 0.25f, 1.f}};
  REQUIRE(one.view().relocated(9, move).values == one.values.data() + 1);
  REQUIRE(two_rows.view().relocated(2, move).values == two_rows.values.data() + 1);
  REQUIRE(asked == std::vector<std::pair<const float*, Index>>{{one.values.data(), 4},
                                                               {two_rows.values.data(), 8}});
}

TEST_CASE("a histogram gives the mean of each bin that holds something") {
  qlora::WeightHistogram histogram(4);
  REQUIRE(histogram.points().empty());
  histogram.add(-0.75f, 1);
  histogram.add(-0.625f, 3);
  histogram.add(0.25f, 2);
  histogram.add(0.125f, 0);
  const auto points = histogram.points();
  REQUIRE(points.size() == 2);
  REQUIRE((points[0].position == -0.65625 && points[0].weight == 4));
  REQUIRE((points[1].position == 0.25 && points[1].weight == 2));
}

TEST_CASE("numbers beyond a histogram count in its outermost bins, and histograms add up") {
  qlora::WeightHistogram first(2), second(2);
  first.add(-3.f, 1);
  first.add(1.f, 1);
  second.add(5.f, 3);
  first.add(second);
  const auto points = first.points();
  REQUIRE(points.size() == 2);
  REQUIRE((points[0].position == -3 && points[0].weight == 1));
  REQUIRE((points[1].position == 4 && points[1].weight == 4));
}
