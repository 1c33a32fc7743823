#include "qlora/memory/pager.hpp"

#include <cstdint>

#include "qlora/memory/file_pager.hpp"
#include "support/catch.hpp"

TEST_CASE("plain memory is aligned, zero and always there") {
  static_assert(qlora::Pager<qlora::HeapPager> && qlora::Pager<qlora::FilePager>);
  qlora::HeapPager pager;
  auto* at = static_cast<char*>(pager.allocate(1000));
  REQUIRE(reinterpret_cast<std::uintptr_t>(at) % 64 == 0);
  for (int i = 0; i < 1000; ++i) REQUIRE(at[i] == 0);
  [[maybe_unused]] const auto pin = pager.pin(at, 1000);
  pager.deallocate(at, 1000);
  REQUIRE(pager.counters().hit_rate() == 1);
}
