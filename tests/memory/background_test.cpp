#include "qlora/memory/background.hpp"

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "support/catch.hpp"

TEST_CASE("jobs run in their order in one thread beside the caller") {
  std::vector<int> order;
  std::set<std::thread::id> threads;
  std::atomic<bool> done = false;
  {
    const qlora::BackgroundThread idle;  // ends though nothing came
    qlora::BackgroundThread background;
    for (int i = 0; i < 100; ++i)
      background.submit([&, i] {
        order.push_back(i);
        threads.insert(std::this_thread::get_id());
      });
    background.submit([&] {
      done = true;
      done.notify_all();
    });
    done.wait(false);
  }
  REQUIRE(order.size() == 100);
  for (int i = 0; i < 100; ++i) REQUIRE(order[static_cast<std::size_t>(i)] == i);
  REQUIRE(threads.size() == 1);
  REQUIRE_FALSE(threads.contains(std::this_thread::get_id()));
}
