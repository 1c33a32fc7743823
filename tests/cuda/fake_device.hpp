// A device on the host: the recording runtime, with kernels run by the executor.
#pragma once

#include "cuda/executor.hpp"
#include "qlora/cuda/runtime.hpp"
#include "support/fake_runtime.hpp"

namespace test {

class FakeDevice : public FakeRuntime {
 public:
  using FakeRuntime::FakeRuntime;

  int allocate(void** place, std::size_t bytes) {
    if (const int code = note("allocate on the device")) return code;
    *place = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    record_->held[*place] = bytes;
    return 0;
  }
  int copy_in(void* to, const void* from, std::size_t bytes) {
    if (const int code = note("copy in")) return code;
    std::memcpy(to, from, bytes);
    return 0;
  }
  int copy_out(void* to, const void* from, std::size_t bytes) {
    if (const int code = note("copy out")) return code;
    std::memcpy(to, from, bytes);
    return 0;
  }
  int copy_within(void* to, const void* from, std::size_t bytes) {
    if (const int code = note("copy within")) return code;
    std::memcpy(to, from, bytes);
    return 0;
  }
  int work_waits_for_moves() { return note("work waits"); }
  int moves_wait_for_work() { return note("moves wait"); }

  // A kernel may touch what is allocated and nothing else.
  template <qlora::cuda::Kernel K>
  int launch(const K& kernel) {
    if (const int code = note(std::string("launch ") + K::name)) return code;
    Executor executor(K::threads, kernel.blocks());
    for (const auto& [at, bytes] : record_->held)
      executor.give(std::span<std::byte>(static_cast<std::byte*>(at), bytes));
    executor.run([&](auto& thread) { kernel(thread); });
    return 0;
  }
};
static_assert(qlora::cuda::DeviceRuntime<FakeDevice>);

}  // namespace test
