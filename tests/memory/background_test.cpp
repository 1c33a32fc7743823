#include "qlora/memory/background.hpp"

#include <atomic>
#include <vector>

#include "support/catch.hpp"

TEST_CASE("jobs run in their order beside the caller") {
  std::vector<int> order;
  std::atomic<bool> done = false;
  {
    qlora::BackgroundThread background;
    for (int i = 0; i < 100; ++i) background.submit([&, i] { order.push_back(i); });
    background.submit([&] {
      done = true;
      done.notify_all();
    });
    done.wait(false);
  }
  REQUIRE(order.size() == 100);
  for (int i = 0; i < 100; ++i) REQUIRE(order[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("a thread without work ends at once") { const qlora::BackgroundThread background; }
