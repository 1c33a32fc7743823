// Runs a body with one thread and with several, for comparison.
#pragma once

#include <utility>

#include "qlora/core/parallel.hpp"

namespace test {

// Loops use `count` threads while it lives.
class Threads {
 public:
  explicit Threads(int count) : before_(qlora::thread_count()) { qlora::set_thread_count(count); }
  ~Threads() { qlora::set_thread_count(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

// The results of `body()` on one thread and on four.
template <class Body>
auto with_one_and_four_threads(Body&& body) {
  const auto on = [&](int count) {
    const Threads threads(count);
    return body();
  };
  auto one = on(1);
  return std::pair{std::move(one), on(4)};
}

}  // namespace test
