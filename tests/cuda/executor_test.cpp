// The executor itself: kernels that are wrong on purpose, and right ones.
#include "cuda/executor.hpp"

#include <numeric>

#include "support/catch.hpp"

using qlora::Index;

namespace {

std::vector<float> counting(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.f);
  return values;
}

}  // namespace

static_assert(qlora::cuda::ExecutionContext<test::Executor::Context>);

TEST_CASE("every thread of every block runs once, and sums by shuffles and barriers are right") {
  const auto input = counting(256);
  std::vector<float> output(2, 0);
  test::Executor device(128, 2);
  device.give(std::span(input));
  device.give(std::span(output));
  device.run([&](auto& thread) {
    auto sums = thread.template shared<float, 4>();
    float value = thread.load(input.data() + thread.first());
    for (int mask = 16; mask > 0; mask /= 2) value += thread.shuffle_xor(value, mask);
    if (thread.lane() == 0) sums[thread.warp()] = value;
    thread.barrier();
    if (thread.thread() == 0)
      thread.store(output.data() + thread.block(), sums[0] + sums[1] + sums[2] + sums[3]);
  });
  REQUIRE(output == std::vector<float>{128 * 129 / 2, 256 * 257 / 2 - 128 * 129 / 2});
}

TEST_CASE("access outside of what a kernel was given is a fault, also by one byte") {
  const auto input = counting(64);
  std::vector<float> output(64);
  test::Executor device(32, 1);
  device.give(std::span(input).first(32));
  device.give(std::span(output).first(32));
  REQUIRE_THROWS_WITH(device.run([&](auto& thread) { thread.load(input.data() + 32); }),
                      test::contains("reads 4 bytes 128 bytes into 128"));
  REQUIRE_THROWS_WITH(device.run([&](auto& thread) { thread.store(output.data() - 1, 0.f); }),
                      test::contains("writes"));
  REQUIRE_THROWS_WITH(
      device.run([&](auto& thread) { thread.store(const_cast<float*>(input.data()), 1.f); }),
      test::contains("may only read"));
}

TEST_CASE("a pack that is not aligned is a fault") {
  alignas(16) float values[8] = {};
  test::Executor device(32, 1);
  device.give(std::span<float>(values));
  using Four = qlora::cuda::Pack<float, 4>;
  device.run([&](auto& thread) { thread.load(reinterpret_cast<const Four*>(values)); });
  REQUIRE_THROWS_WITH(
      device.run([&](auto& thread) { thread.load(reinterpret_cast<const Four*>(values + 1)); }),
      test::contains("no multiple of 16"));
}

TEST_CASE("shared memory read before it is written, and beyond its end, is a fault") {
  test::Executor device(32, 1);
  REQUIRE_THROWS_WITH(device.run([](auto& thread) {
    auto array = thread.template shared<int, 32>();
    const int value = array[thread.thread()];
    static_cast<void>(value);
  }),
                      test::contains("nobody has written"));
  REQUIRE_THROWS_WITH(device.run([](auto& thread) { thread.template shared<int, 32>()[32] = 1; }),
                      test::contains("element 32 of 32"));
}

TEST_CASE("two threads at one shared element with no barrier between are a race") {
  test::Executor device(64, 1);
  const auto exchange = [](bool before_read, bool before_write) {
    return [=](auto& thread) {
      auto array = thread.template shared<int, 64>();
      array[thread.thread()] = thread.thread();
      if (before_read) thread.barrier();
      const int other = array[(thread.thread() + 1) % 64];
      if (before_write) thread.barrier();
      array[thread.thread()] = other;
    };
  };
  device.run(exchange(true, true));
  REQUIRE_THROWS_WITH(device.run(exchange(true, false)), test::contains("no barrier between"));
  REQUIRE_THROWS_AS(device.run(exchange(false, true)), test::KernelFault);
  REQUIRE_THROWS_WITH(device.run([](auto& thread) { thread.template shared<int, 1>()[0] = 1; }),
                      test::contains("wrote with no barrier between"));
}

TEST_CASE("a barrier that not all threads reach is a fault, whether others end or shuffle") {
  test::Executor device(64, 1);
  REQUIRE_THROWS_WITH(device.run([](auto& thread) {
    if (thread.thread() != 5) thread.barrier();
  }),
                      test::contains("a barrier that 63 of 64 threads reach"));
  REQUIRE_THROWS_WITH(device.run([](auto& thread) {
    if (thread.warp() == 0) thread.barrier();
  }),
                      test::contains("32 of 64"));
}

TEST_CASE("a shuffle with missing lanes is a fault") {
  test::Executor device(32, 1);
  REQUIRE_THROWS_WITH(device.run([](auto& thread) {
    if (thread.lane() < 8) thread.shuffle_xor(1.f, 1);
  }),
                      test::contains("a shuffle that 8 of 32 lanes reach"));
  REQUIRE_THROWS_WITH(device.run([](auto& thread) {
    if (thread.lane() < 8) {
      thread.shuffle(1.f, 0);
    } else {
      thread.barrier();
    }
  }),
                      test::contains("8 of 32"));
  REQUIRE_THROWS_WITH(device.run([](auto& thread) { thread.shuffle(1.f, 32); }),
                      test::contains("lane 32"));
}

TEST_CASE("blocks share nothing, and a launch that no device takes is refused") {
  test::Executor device(32, 2);
  REQUIRE_THROWS_WITH(device.run([](auto& thread) {
    auto array = thread.template shared<int, 32>();
    if (thread.block() == 0) array[thread.thread()] = 1;
    thread.barrier();
    const int value = array[thread.thread()];
    static_cast<void>(value);
  }),
                      test::contains("nobody has written"));
  REQUIRE_THROWS_AS(test::Executor(33, 1), test::KernelFault);
  REQUIRE_THROWS_AS(test::Executor(2048, 1), test::KernelFault);
}
