#include "qlora/linalg/scratch.hpp"

#include <algorithm>
#include <cstdint>
#include <thread>

#include "support/catch.hpp"

namespace {
struct First;
struct Second;
}  // namespace

TEST_CASE("scratch is kept between calls, grows, and lies on a boundary of 64 bytes") {
  float* small = qlora::linalg_detail::scratch<First>(10);
  std::fill_n(small, 10, 3.f);
  REQUIRE(reinterpret_cast<std::uintptr_t>(small) % 64 == 0);
  REQUIRE(qlora::linalg_detail::scratch<First>(4) == small);
  REQUIRE(small[9] == 3);
  float* large = qlora::linalg_detail::scratch<First>(100000);
  std::fill_n(large, 100000, 4.f);
  REQUIRE(reinterpret_cast<std::uintptr_t>(large) % 64 == 0);
  REQUIRE(qlora::linalg_detail::scratch<First>(10) == large);
}

TEST_CASE("tags, types and threads have a scratch each") {
  float* first = qlora::linalg_detail::scratch<First>(16);
  first[0] = 1;
  qlora::linalg_detail::scratch<Second>(16)[0] = 2;
  qlora::linalg_detail::scratch<First, double>(16)[0] = 3;
  float* other = nullptr;
  std::thread([&] { (other = qlora::linalg_detail::scratch<First>(16))[0] = 4; }).join();
  REQUIRE(first[0] == 1);
  REQUIRE(qlora::linalg_detail::scratch<Second>(16)[0] == 2);
  REQUIRE(other != first);
}
