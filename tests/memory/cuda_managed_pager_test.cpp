#include "qlora/memory/cuda_managed_pager.hpp"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "qlora/optim/adam.hpp"
#include "support/catch.hpp"

namespace {

// What the calls were; the one with number `fails` fails.
struct Record {
  std::vector<std::string> calls;
  std::set<void*> held;
  int fails = -1;
  ~Record() {
    for (void* at : held) std::free(at);
  }
};

class FakeRuntime {
 public:
  FakeRuntime() = default;
  explicit FakeRuntime(std::shared_ptr<Record> record) : record_(std::move(record)) {}

  int allocate_managed(void** place, std::size_t bytes) {
    if (const int code = note("allocate")) return code;
    *place = std::malloc(bytes);
    record_->held.insert(*place);
    return 0;
  }
  int release(void* at) {
    record_->calls.push_back("release");
    record_->held.erase(at);
    std::free(at);
    return 0;
  }
  int clear(void* at, std::size_t bytes) {
    if (const int code = note("clear")) return code;
    std::memset(at, 0, bytes);
    return 0;
  }
  int prefer(void*, std::size_t, int device) { return note("prefer " + std::to_string(device)); }
  int prefetch(void*, std::size_t, int device) { return note("move to " + std::to_string(device)); }
  int synchronize() { return note("synchronize"); }
  const char* error_text(int code) const { return code == 2 ? "out of memory" : "another error"; }

 private:
  int note(const std::string& call) {
    const bool fails = static_cast<int>(record_->calls.size()) == record_->fails;
    record_->calls.push_back(call);
    return fails ? 2 : 0;
  }
  std::shared_ptr<Record> record_;
};

using Pager = qlora::CudaManagedPager<FakeRuntime>;

// One step of AdamW over three windows of state.
void step(const std::shared_ptr<Record>& record, qlora::Parameter<float>& p) {
  Pager pager(FakeRuntime(record), {.device = 1, .budget = 4 * 65536, .extent_bytes = 65536});
  qlora::AdamW<qlora::StateOf<float>, qlora::Paged<Pager>> optimizer({}, pager);
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
      REQUIRE_THROWS_WITH(step(record, p), test::contains("out of memory"));
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
