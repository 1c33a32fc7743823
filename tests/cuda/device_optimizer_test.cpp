#include "qlora/cuda/device_optimizer.hpp"

#include "cuda/fake_device.hpp"
#include "qlora/optim/adam.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index;

namespace {

template <class State>
using Optimizer = qlora::cuda::DeviceOptimizer<qlora::AdamWRule, State, test::FakeDevice>;

// Steps over two parameters of 700 and 300 elements in tiles of 512; what the first has become.
template <class State>
std::vector<float> run(const std::shared_ptr<test::Record>& record, bool paged, int steps = 1,
                       bool stay = false) {
  const test::Device device{test::FakeDevice(record)};
  std::vector<float> result(1000);
  {
    qlora::cuda::Buffer<float, test::FakeDevice> values(device), gradients(device);
    const auto start = test::normal_matrix(1, 1000, 1), gradient = test::normal_matrix(1, 1000, 2);
    values.upload(start.data(), 1000);
    gradients.upload(gradient.data(), 1000);
    const std::vector<qlora::cuda::DeviceParameter> parameters{
        {values.data(), gradients.data(), 700}, {values.data() + 700, gradients.data() + 700, 300}};
    Optimizer<State> optimizer(device, {.learning_rate = 1e-2}, {.paged = paged, .tile = 512});
    if (!stay) record->calls.clear();
    try {
      for (int i = 0; i < steps; ++i) optimizer.step(parameters);
    } catch (const qlora::DeviceError&) {
      const bool launched = record->calls.back() != "" && optimizer.torn();
      record->fails = -1;
      if (launched) REQUIRE_THROWS_WITH(optimizer.step(parameters), test::contains("half-way"));
      throw;
    }
    values.download(result.data(), 1000);
  }
  return result;
}

}  // namespace

TEST_CASE("paged state: advice, then each tile comes while the one before works, and goes behind") {
  const auto record = std::make_shared<test::Record>();
  run<qlora::cuda::FloatState>(record, true);
  const std::vector<std::string> expected{
      "allocate",   "prefer -1",    "clear",        "moves wait",
      "move to 0",                                                // the first
      "work waits", "moves wait",   "launch adamw", "move to 0",  // the second comes
      "work waits", "moves wait",   "launch adamw", "move to 0",  "move to -1", "work waits",
      "moves wait", "launch adamw", "move to -1",   "moves wait", "move to -1"};
  REQUIRE(std::vector<std::string>(record->calls.begin(),
                                   record->calls.begin() + static_cast<Index>(expected.size())) ==
          expected);
  REQUIRE(record->held.empty());
}

TEST_CASE("paged and plain state give the same bits, over several steps") {
  const auto record = std::make_shared<test::Record>();
  REQUIRE(run<qlora::cuda::FloatState>(record, true, 3) ==
          run<qlora::cuda::FloatState>(record, false, 3));
  REQUIRE(run<qlora::cuda::ByteState>(record, true, 3) ==
          run<qlora::cuda::ByteState>(record, false, 3));
}

TEST_CASE("every call of a paged step failing in turn, once each") {
  const auto whole = std::make_shared<test::Record>();
  run<qlora::cuda::FloatState>(whole, true, 1, true);
  int calls = 0;
  while (whole->calls[static_cast<std::size_t>(calls)] != "copy out") ++calls;
  for (int fails = 0; fails < calls; ++fails) {
    if (whole->calls[static_cast<std::size_t>(fails)] == "release") continue;
    INFO("call " << fails << ": " << whole->calls[static_cast<std::size_t>(fails)]);
    const auto record = std::make_shared<test::Record>();
    record->fails = fails;
    REQUIRE_THROWS_WITH(run<qlora::cuda::FloatState>(record, true, 1, true),
                        test::contains("device: ") && test::contains("out of memory"));
    REQUIRE(record->held.empty());
  }
}
