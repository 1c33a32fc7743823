#include "qlora/memory/cuda_managed_pager.hpp"

#include <memory>
#include <string>
#include <vector>

#include "qlora/optim/adam.hpp"
#include "support/catch.hpp"
#include "support/fake_runtime.hpp"
#include "support/numbers.hpp"

namespace {

using test::FakeRuntime, test::Record;
using Pager = qlora::CudaManagedPager<FakeRuntime>;

// One step of AdamW over three windows of state.
void step(const std::shared_ptr<Record>& record, qlora::Parameter<float>& p) {
  Pager pager(FakeRuntime(record), {.device = 1, .budget = 4 * 65536, .extent_bytes = 65536});
  qlora::AdamW<qlora::NumberState<float>, qlora::Paged<Pager>> optimizer({}, pager);
  const qlora::ParameterList<float> list{&p};
  try {
    optimizer.step(list);
  } catch (...) {
    record->fails = -1;
    if (optimizer.torn()) REQUIRE_THROWS_AS(optimizer.step(list), qlora::Error);
    throw;
  }
}

qlora::Parameter<float> parameter() {
  qlora::Parameter<float> p("p", 1, 3 * 8192);
  p.grad.setOnes();
  return p;
}

}  // namespace

TEST_CASE("a walk moves the next range to the device before it waits for work, and back behind") {
  const auto record = std::make_shared<Record>();
  auto p = parameter();
  step(record, p);
  REQUIRE(record->calls == std::vector<std::string>{
                               "allocate", "prefer -1", "clear", "synchronize",  // state
                               "move to 1", "synchronize", "move to 1",          // first, next
                               "move to -1", "move to 1", "synchronize", "move to 1", "move to -1",
                               "move to 1", "synchronize", "move to -1", "release"});
  REQUIRE(record->held.empty());
}

TEST_CASE("every call failing in turn is an error that names what happened, and leaks nothing") {
  const auto whole = std::make_shared<Record>();
  auto done = parameter();
  step(whole, done);
  const auto calls = static_cast<int>(whole->calls.size()) - 1;  // release has no error to give
  for (int fails = 0; fails < calls; ++fails) {
    INFO("call " << fails << ": " << whole->calls[static_cast<std::size_t>(fails)]);
    const auto record = std::make_shared<Record>();
    record->fails = fails;
    auto p = parameter();
    const auto before = p.value;
    const bool last_move_back = fails == calls - 1;  // nothing comes after it in this step
    if (last_move_back) {
      step(record, p);
    } else {
      const auto text = test::message_of<qlora::DeviceError>([&] { step(record, p); });
      REQUIRE_THAT(text, test::contains("out of memory"));
    }
    if (fails < 7) REQUIRE(p.value == before);  // before the first change
    REQUIRE(record->held.empty());
  }
}

TEST_CASE("more pinned than the device's budget is an error that names both") {
  Pager pager(FakeRuntime(std::make_shared<Record>()), {.budget = 1000});
  void* at = pager.allocate(2000);
  REQUIRE_THROWS_WITH(pager.pin(at, 1001), test::contains("1001") && test::contains("1000"));
  { const auto pin = pager.pin(at, 1000); }
  REQUIRE(pager.counters().evictions == 1);
  pager.deallocate(at, 2000);
}

TEST_CASE("the runtime never gets an empty range") {
  const auto record = std::make_shared<Record>();
  Pager pager(FakeRuntime(record), {.budget = 1000});
  void* at = pager.allocate(0);
  REQUIRE(record->held.at(at) == 1);
  REQUIRE(record->smallest == 1);
  const auto calls = record->calls.size();
  pager.prefetch(at, 0);
  { const auto pin = pager.pin(at, 0); }
  REQUIRE(record->calls.size() == calls);
  pager.deallocate(at, 0);
}
