#include "qlora/cuda/context.hpp"

#include <vector>

#include "cuda/device.hpp"

using qlora::Index;
using namespace qlora::cuda;

namespace {

// What every thread of the grid says of its place: [threads of the grid, 8].
struct Places {
  static constexpr int threads = 96;
  static constexpr const char* name = "places";
  Index* out;

  Index blocks() const { return 3; }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    Index* to = out + 8 * thread.first();
    thread.store(to, Index{thread.lane()});
    thread.store(to + 1, Index{thread.warp()});
    thread.store(to + 2, Index{thread.warps()});
    thread.store(to + 3, thread.stride());
    thread.store(to + 4, thread.first_warp());
    thread.store(to + 5, thread.warp_stride());
    thread.store(to + 6, Index{thread.thread()});
    thread.store(to + 7, thread.block());
  }
};

}  // namespace

TEST_CASE("a thread knows its lane and its warp, and where its walks over the grid begin") {
  std::vector<Index> out(3 * 96 * 8, -1);
  test::run_kernel(Places{out.data()}, std::span(out));
  for (Index i = 0; i < 3 * 96; ++i) {
    const Index* place = out.data() + 8 * i;
    INFO("thread " << i);
    REQUIRE(place[0] == i % 32);
    REQUIRE(place[1] == i % 96 / 32);
    REQUIRE(place[2] == 3);
    REQUIRE(place[3] == 3 * 96);
    REQUIRE(place[4] == i / 32);
    REQUIRE(place[5] == 9);
    REQUIRE(place[6] == i % 96);
    REQUIRE(place[7] == i / 96);
  }
}

TEST_CASE("a pack has the size and the alignment of one load") {
  STATIC_REQUIRE(sizeof(Pack<float, 4>) == 16);
  STATIC_REQUIRE(alignof(Pack<float, 4>) == 16);
  STATIC_REQUIRE(alignof(Pack<qlora::bfloat16, 4>) == 8);
  STATIC_REQUIRE(alignof(Pack<std::uint8_t, 4>) == 4);
}

TEST_CASE("kernels read and write float and the two halves of it") {
  STATIC_REQUIRE(DeviceNumber<float>);
  STATIC_REQUIRE(DeviceNumber<qlora::float16>);
  STATIC_REQUIRE(DeviceNumber<qlora::bfloat16>);
  STATIC_REQUIRE_FALSE(DeviceNumber<double>);
  STATIC_REQUIRE_FALSE(DeviceNumber<int>);
}
