#include "qlora/core/parallel.hpp"

#include <stdexcept>
#include <vector>

#include "support/law.hpp"

using qlora::Index;

TEST_CASE("parallel_for visits every index once") {
  for (const Index count : {Index{0}, Index{1}, Index{2}, Index{1000}}) {
    std::vector<int> seen(static_cast<std::size_t>(count), 0);
    qlora::parallel_for(count, [&](Index i) { ++seen[static_cast<std::size_t>(i)]; });
    for (const int n : seen) REQUIRE(n == 1);
  }
}

TEST_CASE("ranges cover everything without overlap") {
  test::law("cover", [](std::uint16_t count, std::uint8_t grain) {
    std::vector<int> seen(count, 0);
    qlora::parallel_ranges(count, grain + 1, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    for (const int n : seen) RC_ASSERT(n == 1);
  });
}

TEST_CASE("an exception in a loop reaches the caller") {
  REQUIRE_THROWS_AS(qlora::parallel_for(100,
                                        [](Index i) {
                                          if (i == 57) throw std::runtime_error("57");
                                        }),
                    std::runtime_error);
}

TEST_CASE("a loop within a loop runs on the thread it is on") {
  std::vector<int> inside(64, 0);
  qlora::parallel_for(8, [&](Index i) {
    const bool parallel_outside = qlora::thread_count() == 1;
    qlora::parallel_for(8, [&](Index j) {
      inside[static_cast<std::size_t>(i * 8 + j)] += parallel_outside ? 1 : 1000;
    });
  });
#if defined(_OPENMP)
  if (omp_get_max_threads() > 1)
    for (const int n : inside) REQUIRE(n == 1);
#endif
  for (const int n : inside) REQUIRE(n >= 1);
}

TEST_CASE("a grain is a multiple of the smallest one and gives each thread its share") {
  test::law("grain", [](std::uint16_t count, std::uint8_t smallest) {
    const Index least = smallest + 1, grain = qlora::grain_for(count, least);
    RC_ASSERT(grain >= least);
    RC_ASSERT(grain % least == 0);
    RC_ASSERT(grain == least ||
              grain * qlora::thread_count() < count + (least + 1) * qlora::thread_count());
  });
}
