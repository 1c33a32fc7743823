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

TEST_CASE("copies into shared memory come when they are waited for, zeros where there is nothing") {
  const auto input = counting(128);
  std::vector<float> output(128);
  test::Executor device(32, 1);
  device.give(std::span(input));
  device.give(std::span(output));
  device.run([&](auto& thread) {
    auto array = thread.template shared<float, 256>();
    for (int part = 0; part < 2; ++part) {
      thread.template copy_async<4>(array, 128 * part + 4 * thread.thread(),
                                    input.data() + 4 * thread.thread(), part == 0);
      thread.commit_copies();
    }
    thread.template wait_copies<1>();
    thread.barrier();
    const int other = (thread.thread() + 1) % 32;
    const auto first = thread.template load_shared<4>(array, 4 * other);
    thread.template wait_copies<0>();
    thread.barrier();
    const auto second = thread.template load_shared<4>(array, 128 + 4 * other);
    for (int i = 0; i < 4; ++i)
      thread.store(output.data() + 4 * other + i, first.at[i] + second.at[i]);
  });
  REQUIRE(output == input);
  const auto run = [&](bool wait, bool barrier, int place) {
    device.run([&, wait, barrier, place](auto& thread) {
      auto array = thread.template shared<float, 128>();
      thread.template copy_async<4>(array, 4 * thread.thread() + place, input.data(), true);
      thread.commit_copies();
      if (wait) thread.template wait_copies<0>();
      if (barrier) thread.barrier();
      thread.template load_shared<4>(array, 4 * ((thread.thread() + 1) % 32));
    });
  };
  run(true, true, 0);
  REQUIRE_THROWS_WITH(run(false, true, 0), test::contains("nobody has written"));
  REQUIRE_THROWS_WITH(run(true, false, 0), test::contains("nobody has written"));
  REQUIRE_THROWS_WITH(run(true, true, 2), test::contains("no multiple"));
}

TEMPLATE_TEST_CASE("fragments multiply as matrices, by tensor cores and by shuffles", "",
                   qlora::bfloat16, qlora::float16) {
  // a is 16 x 16, b 16 x 8; small whole numbers are exact in both types.
  const auto a = [](int row, int k) { return static_cast<float>((row * 5 + k * 3) % 11 - 5); };
  const auto b = [](int k, int col) { return static_cast<float>((k * 7 + col) % 9 - 4); };
  const auto pair = [](float low, float high) {
    return static_cast<std::uint32_t>(TestType(low).bits) |
           static_cast<std::uint32_t>(TestType(high).bits) << 16;
  };
  std::vector<float> sums(128, -1), shuffled(128, -1);
  test::Executor device(32, 1);
  device.give(std::span(sums));
  device.give(std::span(shuffled));
  device.run([&](auto& thread) {
    const int g = thread.lane() / 4, t = thread.lane() % 4;
    qlora::cuda::Fragment<4> left;
    qlora::cuda::Fragment<2> right;
    for (int word = 0; word < 4; ++word) {
      const int row = g + 8 * (word % 2), k = 2 * t + 8 * (word / 2);
      left.at[word] = pair(a(row, k), a(row, k + 1));
    }
    for (int word = 0; word < 2; ++word)
      right.at[word] = pair(b(2 * t + 8 * word, g), b(2 * t + 8 * word + 1, g));
    float sum[4] = {1, 1, 1, 1}, other[4] = {1, 1, 1, 1};
    thread.template multiply<TestType>(sum, left, right);
    qlora::cuda::detail::multiply_by_shuffles<TestType>(thread, other, left, right);
    for (int i = 0; i < 4; ++i) {
      const int place = (g + 8 * (i / 2)) * 8 + 2 * t + i % 2;
      thread.store(sums.data() + place, sum[i]);
      thread.store(shuffled.data() + place, other[i]);
    }
  });
  for (int row = 0; row < 16; ++row)
    for (int col = 0; col < 8; ++col) {
      float expected = 1;
      for (int k = 0; k < 16; ++k) expected += a(row, k) * b(k, col);
      REQUIRE(sums[static_cast<std::size_t>(row * 8 + col)] == expected);
      REQUIRE(shuffled[static_cast<std::size_t>(row * 8 + col)] == expected);
    }
}

TEST_CASE("a multiplication with missing lanes is a fault") {
  test::Executor device(32, 1);
  REQUIRE_THROWS_WITH(device.run([](auto& thread) {
    float sum[4] = {};
    if (thread.lane() > 0) thread.template multiply<qlora::bfloat16>(sum, {}, {});
  }),
                      test::contains("31 of 32"));
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
