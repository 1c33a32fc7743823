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
    return kept(note("allocate on the device"), &CudaRuntime::allocate, place, bytes);
  }
  int allocate_managed(void** place, std::size_t bytes) {
    return kept(note("allocate"), &CudaRuntime::allocate_managed, place, bytes);
  }
  int release(void* at) {
    record_->calls.push_back("release");
    record_->held.erase(at);
    return runtime_.release(at);
  }
  int clear(void* at, std::size_t bytes) {
    const int code = note("clear");
    return code != 0 ? code : runtime_.clear(at, bytes);
  }
  int copy_in(void* to, const void* from, std::size_t bytes) {
    const int code = note("copy in");
    return code != 0 ? code : runtime_.copy_in(to, from, bytes);
  }
  int copy_out(void* to, const void* from, std::size_t bytes) {
    const int code = note("copy out");
    return code != 0 ? code : runtime_.copy_out(to, from, bytes);
  }
  int copy_within(void* to, const void* from, std::size_t bytes) {
    const int code = note("copy within");
    return code != 0 ? code : runtime_.copy_within(to, from, bytes);
  }
  int prefer(void* at, std::size_t bytes, int device) {
    const int code = note("prefer " + std::to_string(device));
    return code != 0 ? code : runtime_.prefer(at, bytes, device);
  }
  int prefetch(void* at, std::size_t bytes, int device) {
    const int code = note("move to " + std::to_string(device));
    return code != 0 ? code : runtime_.prefetch(at, bytes, device);
  }
  int synchronize() {
    const int code = note("synchronize");
    return code != 0 ? code : runtime_.synchronize();
  }
  int work_waits_for_moves() {
    const int code = note("work waits");
    return code != 0 ? code : runtime_.work_waits_for_moves();
  }
  int moves_wait_for_work() {
    const int code = note("moves wait");
    return code != 0 ? code : runtime_.moves_wait_for_work();
  }
  template <qlora::cuda::Kernel K>
  int launch(const K& kernel) {
    const int code = note(std::string("launch ") + K::name);
    return code != 0 ? code : runtime_.launch(kernel);
  }
  const char* error_text(int code) const { return runtime_.error_text(code); }

 private:
  using CudaRuntime = qlora::cuda::CudaRuntime;
  int note(const std::string& call) {
    const bool fails = static_cast<int>(record_->calls.size()) == record_->fails;
    record_->calls.push_back(call);
    return fails ? cudaErrorMemoryAllocation : 0;
  }
  int kept(int code, int (CudaRuntime::*allocate)(void**, std::size_t), void** place,
           std::size_t bytes) {
    if (code == 0) code = (runtime_.*allocate)(place, bytes);
    if (code == 0) record_->held[*place] = 0;  // the host does not free it
    return code;
  }
  std::shared_ptr<Record> record_;
  CudaRuntime runtime_;
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

}  // namespace test
