/// The host's side of a device: its runtime's calls behind one policy type, so that tests can
/// record them and let them fail; memory that is released by itself; launches.
///
///     qlora::cuda::Device device(qlora::cuda::CudaRuntime{});
///     qlora::cuda::Buffer<float, qlora::cuda::CudaRuntime> x(device);
///     x.upload(host.data(), count);        // waits until it is read
///     device.launch(kernel);               // never waits
///     x.download(host.data(), count);      // waits
///
/// Every call's code is checked; a failure is a DeviceError with the call's name.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/cuda/kernel.hpp"
#include "qlora/memory/cuda_managed_pager.hpp"

namespace qlora::inline QLORA_ABI::cuda {

namespace detail {
struct NoKernel {
  static constexpr int threads = 32;
  static constexpr const char* name = "nothing";
  Index blocks() const { return 0; }
  template <class Context>
  QLORA_DEVICE void operator()(Context&) const {}
};
}  // namespace detail

/// Beside ManagedRuntime's: device memory, copies, launches. All work is in the order of its calls,
/// except that moves of managed memory (prefetch) go beside it; the last two calls order those.
/// device is the number that prefetch knows it by.
template <class R>
concept DeviceRuntime = ManagedRuntime<R> &&
    requires(R& runtime, void** place, void* to, const void* from, std::size_t bytes) {
  { runtime.allocate(place, bytes) } -> std::convertible_to<int>;
  { runtime.copy_in(to, from, bytes) } -> std::convertible_to<int>;
  { runtime.copy_out(to, from, bytes) } -> std::convertible_to<int>;
  { runtime.copy_within(to, from, bytes) } -> std::convertible_to<int>;
  { runtime.launch(detail::NoKernel{}) } -> std::convertible_to<int>;
  { runtime.work_waits_for_moves() } -> std::convertible_to<int>;
  { runtime.moves_wait_for_work() } -> std::convertible_to<int>;
  { runtime.device() } -> std::convertible_to<int>;
};

/// A handle; copies share the runtime. One thread at a time may use it and its copies.
template <DeviceRuntime R>
class Device {
 public:
  explicit Device(R runtime) : runtime_(std::make_shared<R>(std::move(runtime))) {}

  /// The runtime's calls themselves.
  R& runtime() const { return *runtime_; }

  /// Puts a Kernel behind the work that is there and does not wait for it. A kernel of no blocks
  /// does nothing. Throws DeviceError where it cannot be launched.
  template <class K>
  void launch(const K& kernel) const {
    static_assert(check_kernel<K>());
    if (kernel.blocks() > 0) check(runtime_->launch(kernel), "launch of ", K::name);
  }
  /// Waits for all work. Throws DeviceError where it failed.
  void synchronize() const { check(runtime_->synchronize(), "synchronization"); }

  /// Throws DeviceError for a code that is not 0.
  template <class... What>
  void check(int code, const What&... what) const {
    require<DeviceError>(code == 0, "device: ", what..., " failed: ", runtime_->error_text(code));
  }

 private:
  std::shared_ptr<R> runtime_;
};

/// Numbers in device memory, released with it. One thread at a time may use it.
template <class T, DeviceRuntime R>
class Buffer {
 public:
  explicit Buffer(Device<R> device) : device_(std::move(device)) {}
  Buffer(Device<R> device, Index count) : device_(std::move(device)) { reserve(count); }
  Buffer(Buffer&& other) noexcept
      : device_(other.device_),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() {
    if (data_) device_.runtime().release(data_);
  }

  /// The first number, on the device; null without room.
  T* data() const { return data_; }
  /// Numbers that there is room for.
  Index size() const { return size_; }

  /// Room for `count` numbers; what was there is lost where it has to grow.
  void reserve(Index count) {
    if (count <= size_) return;
    if (data_) device_.runtime().release(std::exchange(data_, nullptr));
    size_ = 0;
    void* place = nullptr;
    device_.check(device_.runtime().allocate(&place, bytes(count)), "allocation of ", bytes(count),
                  " bytes");
    data_ = static_cast<T*>(place);
    size_ = count;
  }
  /// From the host. Waits until the numbers have been read, so that `from` may be changed or freed
  /// afterwards, wherever it lies (copies from pinned memory do not wait by themselves).
  void upload(const T* from, Index count) {
    reserve(count);
    if (count == 0) return;
    device_.check(device_.runtime().copy_in(data_, from, bytes(count)), "copy to it");
    device_.synchronize();
  }
  /// To the host, after all work before.
  void download(T* to, Index count) const {
    if (count == 0) return;
    device_.check(device_.runtime().copy_out(to, data_, bytes(count)), "copy from it");
    device_.synchronize();
  }
  /// From elsewhere on the device; never waits.
  void copy_from(const T* from, Index count) {
    reserve(count);
    if (count > 0)
      device_.check(device_.runtime().copy_within(data_, from, bytes(count)), "copy within it");
  }
  /// `count` zeros; never waits.
  void clear(Index count) {
    reserve(count);
    if (count > 0) device_.check(device_.runtime().clear(data_, bytes(count)), "clearing");
  }

 private:
  static std::size_t bytes(Index count) { return static_cast<std::size_t>(count) * sizeof(T); }
  Device<R> device_;
  T* data_ = nullptr;
  Index size_ = 0;
};

}  // namespace qlora::inline QLORA_ABI::cuda
