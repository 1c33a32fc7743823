#include "qlora/memory/resident_set.hpp"

#include <atomic>
#include <limits>
#include <optional>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/faulty_store.hpp"
#include "support/law.hpp"

using qlora::Access;

namespace {

constexpr std::size_t extent = 4096;
constexpr std::size_t per_extent = extent / sizeof(std::uint32_t);

std::uint32_t* numbers(test::FaultyPager& pager, std::size_t extents) {
  return static_cast<std::uint32_t*>(pager.allocate(extents * extent));
}

}  // namespace

// What is not resident holds rubbish in this store, so a value that survives was written back.
TEST_CASE("memory by pins is memory, whatever is pinned, written, brought in and evicted") {
  test::law("random walks", [](const std::vector<std::uint16_t>& moves, std::uint8_t budget) {
    const std::size_t extents = 9;
    test::FaultyPager pager({.budget = (budget % 5 + 1u) * extent, .extent_bytes = extent});
    std::uint32_t* at = numbers(pager, extents);
    std::vector<std::uint32_t> expected(extents, 0);
    for (const std::uint16_t move : moves) {
      const std::size_t which = move % extents;
      const std::uint32_t* place = at + which * per_extent;
      switch (move / extents % 4) {
        case 0: {
          const auto pin = pager.pin(place, extent, Access::write);
          RC_ASSERT(*place == expected[which]);
          at[which * per_extent] = expected[which] = move;
          break;
        }
        case 1: {
          const auto pin = pager.pin(place, extent, Access::read);
          RC_ASSERT(*place == expected[which]);
          break;
        }
        case 2:
          pager.prefetch(place, extent, Access::write);
          break;
        default:
          pager.trim();
      }
      RC_ASSERT(pager.resident_bytes() <= pager.budget());
    }
    pager.deallocate(at, extents * extent);
    RC_ASSERT(pager.resident_bytes() == 0u);
  });
}

TEST_CASE("two pins may overlap, and a range stays until the last goes") {
  test::FaultyPager pager({.budget = 2 * extent, .extent_bytes = extent});
  std::uint32_t* at = numbers(pager, 4);
  std::optional first = pager.pin(at, 2 * extent, Access::write);
  at[0] = 7;
  at[per_extent] = 8;
  {
    const auto second = pager.pin(at, extent, Access::write);
    first.reset();
    const auto other = pager.pin(at + 2 * per_extent, extent, Access::read);  // evicts the second
    REQUIRE(at[0] == 7);
  }
  const auto again = pager.pin(at + per_extent, extent, Access::read);
  REQUIRE(at[per_extent] == 8);
}

TEST_CASE("more pinned than the budget is an error that names both, and pins nothing") {
  test::FaultyPager pager({.budget = 2 * extent, .extent_bytes = extent});
  std::uint32_t* at = numbers(pager, 4);
  REQUIRE_THROWS_WITH(pager.pin(at, 3 * extent, Access::write),
                      test::contains("12288") && test::contains("8192"));
  const auto pin = pager.pin(at + 2 * per_extent, 2 * extent, Access::write);
  REQUIRE_THROWS_AS(pager.pin(at, 1, Access::read), qlora::Error);
}

TEST_CASE("what was used longest ago is evicted first") {
  test::FaultyPager pager({.budget = 3 * extent, .extent_bytes = extent});
  std::uint32_t* at = numbers(pager, 4);
  for (const std::size_t i : {0u, 1u, 2u, 0u}) pager.pin(at + i * per_extent, extent, Access::read);
  pager.pin(at + 3 * per_extent, extent, Access::read);  // in place of 1
  const auto faults = pager.counters().faults;
  for (const std::size_t i : {0u, 2u, 3u}) pager.pin(at + i * per_extent, extent, Access::read);
  REQUIRE(pager.counters().faults == faults);
  pager.pin(at + per_extent, extent, Access::read);
  REQUIRE(pager.counters().faults == faults + 1);
  REQUIRE(pager.counters().hits == 4);
}

TEST_CASE("what was only read is not written back") {
  test::FaultyPager pager({.budget = extent, .extent_bytes = extent});
  std::uint32_t* at = numbers(pager, 2);
  for (int round = 0; round < 3; ++round)
    for (const std::size_t i : {0u, 1u}) pager.pin(at + i * per_extent, extent, Access::read);
  REQUIRE(pager.counters().evictions == 5);
  REQUIRE(pager.counters().bytes_out == 0);
}

TEST_CASE("a failure to read is an error, and the next pin tries again") {
  test::FaultyPager pager({.budget = 2 * extent, .extent_bytes = extent});
  std::uint32_t* at = numbers(pager, 4);
  pager.fail_after(0);
  REQUIRE_THROWS_AS(pager.pin(at, extent, Access::write), qlora::IoError);
  REQUIRE(pager.resident_bytes() == 0);
  pager.prefetch(at, extent, Access::write);
  REQUIRE_THROWS_AS(pager.pin(at, extent, Access::write), qlora::IoError);
  pager.fail_after(-1);
  const auto pin = pager.pin(at, extent, Access::write);
  REQUIRE(at[0] == 0);
}

TEST_CASE("a failure to write back is an error, and nothing is lost") {
  test::FaultyPager pager({.budget = extent, .extent_bytes = extent});
  std::uint32_t* at = numbers(pager, 2);
  {
    const auto pin = pager.pin(at, extent, Access::write);
    pager.fail_after(0);
    at[5] = 55;
  }
  REQUIRE_THROWS_AS(pager.pin(at + per_extent, extent, Access::write), qlora::IoError);
  pager.fail_after(-1);
  for (int again = 0; again < 2; ++again) try {
      pager.pin(at + per_extent, extent, Access::write);
    } catch (const qlora::IoError&) {  // of the background, from before
    }
  const auto pin = pager.pin(at, extent, Access::read);
  REQUIRE(at[5] == 55);
}

TEST_CASE("ranges that were not allocated are refused") {
  test::FaultyPager pager({.budget = extent, .extent_bytes = extent});
  std::uint32_t outside = 0;
  REQUIRE_THROWS_AS(pager.pin(&outside, 4, Access::read), qlora::ShapeError);
  std::uint32_t* at = numbers(pager, 1);
  REQUIRE_THROWS_AS(pager.pin(at, extent + 1, Access::read), qlora::ShapeError);
  REQUIRE_THROWS_AS(pager.pin(at + 1, std::numeric_limits<std::size_t>::max(), Access::read),
                    qlora::ShapeError);
  REQUIRE_NOTHROW(pager.pin(at, 0, Access::read));
  REQUIRE_THROWS_AS(test::FaultyPager({.budget = 100, .extent_bytes = extent}), qlora::OptionError);
  REQUIRE_THROWS_AS(test::FaultyPager({.budget = 100, .extent_bytes = 100}), qlora::OptionError);
}

TEST_CASE("a pin keeps the memory's keeper alive") {
  auto pager = std::make_unique<test::FaultyPager>(
      qlora::ResidentOptions{.budget = extent, .extent_bytes = extent});
  std::uint32_t* at = numbers(*pager, 1);
  const auto pin = pager->pin(at, extent, Access::write);
  pager.reset();
  at[0] = 7;
  REQUIRE(at[0] == 7);
}

namespace {

// Write-back, and bringing in by the background, wait until the gate is opened; how often each
// extent was brought in is counted.
struct Gate {
  std::atomic<bool> writing = true, bringing = true;  // open
  std::atomic<int> brought[8] = {};

  static void open(std::atomic<bool>& gate) {
    gate = true;
    gate.notify_all();
  }
};

class GatedStore : public test::FaultyStore {
 public:
  explicit GatedStore(std::shared_ptr<Gate> gate)
      : FaultyStore(std::make_shared<test::Faults>()), gate_(std::move(gate)) {}
  void bring_in(const Region& region, std::size_t offset, std::size_t bytes, Access access) {
    gate_->bringing.wait(false);
    ++gate_->brought[offset / extent];
    FaultyStore::bring_in(region, offset, bytes, access);
  }
  void write_back(const Region& region, std::size_t offset, std::size_t bytes) {
    gate_->writing.wait(false);
    FaultyStore::write_back(region, offset, bytes);
  }

 private:
  std::shared_ptr<Gate> gate_;
};

using GatedSet = qlora::ResidentSet<GatedStore>;

// A pin counts a stall, with the lock that it then waits by, before it waits.
void wait_for_stalls(const GatedSet& set, qlora::Index stalls) {
  while (set.counters().stalls < stalls) std::this_thread::yield();
}

}  // namespace

TEST_CASE("two threads that wait for room for one extent bring it in once, and both pin it") {
  const auto gate = std::make_shared<Gate>();
  const auto set = GatedSet::make(GatedStore(gate), {.budget = 2 * extent, .extent_bytes = extent});
  auto* at = static_cast<std::uint32_t*>(set->allocate(4 * extent));
  gate->writing = false;
  set->pin(at, 2 * extent, Access::write);  // both are written back, and can't be evicted meanwhile
  std::optional<GatedSet::Pin> pins[2];
  {
    std::vector<std::jthread> threads;
    for (auto& pin : pins)
      threads.emplace_back(
          [&] { pin.emplace(set->pin(at + 2 * per_extent, extent, Access::write)); });
    wait_for_stalls(*set, 2);
    Gate::open(gate->writing);
  }
  REQUIRE(gate->brought[2] == 1);
  REQUIRE(set->counters().hits == 1);
  at[2 * per_extent] = 77;
  pins[0].reset();
  // The other pin holds it while all else goes through the place that is left.
  for (const std::size_t i : {0u, 1u, 3u}) set->pin(at + i * per_extent, extent, Access::read);
  REQUIRE(at[2 * per_extent] == 77);
  REQUIRE(gate->brought[2] == 1);
  REQUIRE(set->resident_bytes() == 2 * extent);
  pins[1].reset();
  set->trim();
  REQUIRE(set->resident_bytes() == 0);
}

TEST_CASE("two threads that wait for one prefetch both pin what it brings") {
  const auto gate = std::make_shared<Gate>();
  const auto set = GatedSet::make(GatedStore(gate), {.budget = 2 * extent, .extent_bytes = extent});
  auto* at = static_cast<std::uint32_t*>(set->allocate(2 * extent));
  gate->bringing = false;
  set->prefetch(at, extent, Access::write);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 2; ++t) threads.emplace_back([&] { set->pin(at, extent, Access::write); });
    wait_for_stalls(*set, 2);
    Gate::open(gate->bringing);
  }
  REQUIRE(gate->brought[0] == 1);
  REQUIRE(set->counters().hits == 2);
  REQUIRE(set->resident_bytes() == extent);
}

TEST_CASE("a thread that waits for room while another takes it goes on waiting or says so") {
  const auto gate = std::make_shared<Gate>();
  const auto set = GatedSet::make(GatedStore(gate), {.budget = extent, .extent_bytes = extent});
  auto* at = static_cast<std::uint32_t*>(set->allocate(3 * extent));
  gate->writing = false;
  set->pin(at, extent, Access::write);
  std::atomic<int> pinned = 0, refused = 0;
  {
    std::vector<std::jthread> threads;
    for (const std::size_t i : {1u, 2u})
      threads.emplace_back([&, i] {
        try {
          set->pin(at + i * per_extent, extent, Access::read);
          ++pinned;
        } catch (const qlora::Error&) {  // the other holds the only place
          ++refused;
        }
      });
    wait_for_stalls(*set, 2);
    Gate::open(gate->writing);
  }
  REQUIRE(pinned + refused == 2);
  REQUIRE(pinned >= 1);
  REQUIRE(set->resident_bytes() == extent);
}
