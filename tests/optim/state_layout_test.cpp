#include "qlora/optim/state_layout.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/law.hpp"

using qlora::Index, qlora::StateLayout, qlora::StateTile;

namespace {

Index four_each(Index count) { return StateLayout::aligned(4 * count); }
Index one_each(Index count) { return StateLayout::aligned(count); }

}  // namespace

TEST_CASE("tiles cover each parameter in order, overlap nowhere and cross no border of extents") {
  test::law("layout", [](const std::vector<std::uint16_t>& some, std::uint8_t extents) {
    std::vector<Index> sizes(some.begin(), some.end());
    for (Index& size : sizes) size %= 20000;
    const Index extent = 4096 * (extents % 8 + 1);
    const auto layout =
        StateLayout::make(sizes, extent, {256, one_each}, {256, four_each}, Index{4096});
    std::vector<Index> covered(sizes.size(), 0);
    Index end = 0;
    for (const StateTile& tile : layout.tiles) {
      const auto p = static_cast<std::size_t>(tile.parameter);
      RC_ASSERT(tile.begin == covered[p]);
      RC_ASSERT(tile.count > 0);
      RC_ASSERT(tile.begin % 256 == 0);
      covered[p] += tile.count;
      RC_ASSERT(tile.offset >= end);
      RC_ASSERT(tile.offset % StateLayout::alignment == 0);
      RC_ASSERT(tile.small == (sizes[p] < 4096));
      RC_ASSERT(tile.bytes == (tile.small ? four_each(tile.count) : one_each(tile.count)));
      RC_ASSERT(tile.offset / extent == (tile.offset + tile.bytes - 1) / extent);
      end = tile.offset + tile.bytes;
    }
    RC_ASSERT(covered == sizes);
    RC_ASSERT(layout.bytes == end);
  });
}

TEST_CASE("a layout refuses an extent that holds no block") {
  REQUIRE_THROWS_AS(StateLayout::make({5000}, 512, {256, four_each}, {256, four_each}, Index{0}),
                    qlora::OptionError);
}
