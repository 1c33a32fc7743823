#include "qlora/core/parallel.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#include "support/law.hpp"
#include "support/threads.hpp"

using qlora::Index;
using test::Threads;

TEST_CASE("parallel_for visits every index once") {
  for (const int threads : {1, 2, 5}) {
    const Threads some(threads);
    for (const Index count : {Index{0}, Index{1}, Index{2}, Index{1000}}) {
      std::vector<int> seen(static_cast<std::size_t>(count), 0);
      qlora::parallel_for(count, [&](Index i) { ++seen[static_cast<std::size_t>(i)]; });
      for (const int n : seen) REQUIRE(n == 1);
    }
  }
}

TEST_CASE("parallel_for visits more indices than a ticket counts") {
  const Threads two(2);
  const Index count = 2 * qlora::thread_detail::ThreadPool::most_units + 5;
  std::vector<char> seen(static_cast<std::size_t>(count), 0);
  qlora::parallel_for(count, [&](Index i) { ++seen[static_cast<std::size_t>(i)]; });
  REQUIRE(std::count(seen.begin(), seen.end(), 1) == count);
}

TEST_CASE("ranges cover everything without overlap") {
  const Threads three(3);
  test::law("cover", [](std::uint16_t count, std::uint8_t grain) {
    std::vector<int> seen(count, 0);
    qlora::parallel_ranges(count, grain + 1, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    for (const int n : seen) RC_ASSERT(n == 1);
  });
}

TEST_CASE("of several exceptions in a loop the one of the lowest index reaches the caller") {
  for (const int threads : {1, 4}) {
    const Threads some(threads);
    for (int turn = 0; turn < 200; ++turn) {
      try {
        qlora::parallel_for(100, [](Index i) {
          if (i % 10 == 7) throw std::runtime_error(std::to_string(i));
        });
        FAIL("expected an exception");
      } catch (const std::runtime_error& error) {
        REQUIRE(std::string(error.what()) == "7");
      }
    }
    int after = 0;
    qlora::parallel_for(1, [&](Index) { ++after; });
    REQUIRE(after == 1);
  }
}

TEST_CASE("a loop within a loop runs on the thread it is on") {
  const Threads four(4);
  std::vector<int> inside(64, 0);
  qlora::parallel_for(8, [&](Index i) {
    const bool one_thread = qlora::thread_count() == 1;
    const pthread_t outside = pthread_self();
    qlora::parallel_for(8, [&](Index j) {
      inside[static_cast<std::size_t>(i * 8 + j)] +=
          one_thread && pthread_equal(outside, pthread_self()) ? 1 : 1000;
    });
  });
  for (const int n : inside) REQUIRE(n == 1);
  REQUIRE(qlora::thread_count() == 4);
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

TEST_CASE("OMP_NUM_THREADS gives a number of threads or is refused by name") {
  using qlora::thread_detail::threads_asked;
  REQUIRE(threads_asked(nullptr) == 0);
  REQUIRE(threads_asked("") == 0);
  REQUIRE(threads_asked("3") == 3);
  REQUIRE(threads_asked(" 12 ") == 12);
  REQUIRE(threads_asked("4,2") == 4);
  for (const char* wrong : {"0", "-1", "two", "3x", "1.5", "99999999999999999999"}) {
    try {
      threads_asked(wrong);
      FAIL(wrong << " was taken");
    } catch (const qlora::OptionError& error) {
      const std::string said = error.what();
      REQUIRE(said.find("OMP_NUM_THREADS") != std::string::npos);
      REQUIRE(said.find(wrong) != std::string::npos);
    }
  }
}

TEST_CASE("a number of threads below 1 is refused") {
  const int before = qlora::thread_count();
  REQUIRE_THROWS_AS(qlora::set_thread_count(0), qlora::OptionError);
  REQUIRE_THROWS_AS(qlora::set_thread_count(-2), qlora::OptionError);
  REQUIRE(qlora::thread_count() == before);
}
