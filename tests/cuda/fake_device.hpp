// A device that records its calls and lets one of them fail: on the host, with kernels run by the
// executor; or, compiled by nvcc, a real one.
#pragma once

#if defined(__CUDACC__)
#include "qlora/cuda/cuda_runtime.hpp"
#else
#include "cuda/executor.hpp"
#endif
#include "qlora/cuda/runtime.hpp"
#include "support/fake_runtime.hpp"

namespace test {

#if defined(__CUDACC__)

class FakeDevice {
 public:
  FakeDevice() = default;
  explicit FakeDevice(std::shared_ptr<Record> record) : record_(std::move(record)) {}

  int allocate(void** place, std::size_t bytes) {
    return kept(place,
                after("allocate on the device", [&] { return cuda_.allocate(place, bytes); }));
  }
  int allocate_managed(void** place, std::size_t bytes) {
    return kept(place, after("allocate", [&] { return cuda_.allocate_managed(place, bytes); }));
  }
  int release(void* at) {
    record_->calls.push_back("release");
    record_->held.erase(at);
    return cuda_.release(at);
  }
  int clear(void* at, std::size_t bytes) {
    return after("clear", [&] { return cuda_.clear(at, bytes); });
  }
  int copy_in(void* to, const void* from, std::size_t bytes) {
    return after("copy in", [&] { return cuda_.copy_in(to, from, bytes); });
  }
  int copy_out(void* to, const void* from, std::size_t bytes) {
    return after("copy out", [&] { return cuda_.copy_out(to, from, bytes); });
  }
  int copy_within(void* to, const void* from, std::size_t bytes) {
    return after("copy within", [&] { return cuda_.copy_within(to, from, bytes); });
  }
  int prefer(void* at, std::size_t bytes, int device) {
    return after("prefer " + std::to_string(device),
                 [&] { return cuda_.prefer(at, bytes, device); });
  }
  int prefetch(void* at, std::size_t bytes, int device) {
    return after("move to " + std::to_string(device),
                 [&] { return cuda_.prefetch(at, bytes, device); });
  }
  int synchronize() {
    return after("synchronize", [&] { return cuda_.synchronize(); });
  }
  int work_waits_for_moves() {
    return after("work waits", [&] { return cuda_.work_waits_for_moves(); });
  }
  int moves_wait_for_work() {
    return after("moves wait", [&] { return cuda_.moves_wait_for_work(); });
  }
  template <qlora::cuda::Kernel K>
  int launch(const K& kernel) {
    return after(std::string("launch ") + K::name, [&] { return cuda_.launch(kernel); });
  }
  int device() const { return cuda_.device(); }
  const char* error_text(int code) const { return cuda_.error_text(code); }

 private:
  // The call, unless it is the one that fails.
  template <class Call>
  int after(const std::string& name, Call call) {
    const bool fails = static_cast<int>(record_->calls.size()) == record_->fails;
    record_->calls.push_back(name);
    return fails ? int(cudaErrorMemoryAllocation) : call();
  }
  int kept(void** place, int code) {
    if (code == 0) record_->held[*place] = 0;
    return code;
  }
  std::shared_ptr<Record> record_;
  qlora::cuda::CudaRuntime cuda_;
};

#else

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
    return copy("copy in", to, from, bytes);
  }
  int copy_out(void* to, const void* from, std::size_t bytes) {
    return copy("copy out", to, from, bytes);
  }
  int copy_within(void* to, const void* from, std::size_t bytes) {
    return copy("copy within", to, from, bytes);
  }
  int device() const { return 0; }
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

 private:
  int copy(const char* what, void* to, const void* from, std::size_t bytes) {
    if (const int code = note(what)) return code;
    std::memcpy(to, from, bytes);
    return 0;
  }
};

#endif
static_assert(qlora::cuda::DeviceRuntime<FakeDevice>);

using Device = qlora::cuda::Device<FakeDevice>;

}  // namespace test
