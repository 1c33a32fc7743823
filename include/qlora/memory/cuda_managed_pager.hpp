/// Paged memory by CUDA's unified memory: the driver moves pages between device and host, and the
/// pager tells it ahead of time which.
///
///     qlora::CudaManagedPager<Runtime> pager(Runtime(), {.device = 0});
///
/// Memory prefers the host; a pin moves its range to the device and waits for it, prefetch moves
/// without waiting, and when a pin goes its range moves back behind the walk. `Runtime` is the
/// runtime's calls, so that they can be recorded and fail in a test; every call's code is checked.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/memory/pager.hpp"

namespace qlora::inline QLORA_ABI {

/// The calls of a CUDA runtime that paging needs; each gives an error code, 0 when all went well.
/// Device -1 is the host.
template <class R>
concept ManagedRuntime = requires(R& runtime, void** place, void* at, std::size_t bytes,
                                  int device) {
  { runtime.allocate_managed(place, bytes) } -> std::convertible_to<int>;
  { runtime.release(at) } -> std::convertible_to<int>;
  { runtime.clear(at, bytes) } -> std::convertible_to<int>;
  { runtime.prefer(at, bytes, device) } -> std::convertible_to<int>;
  { runtime.prefetch(at, bytes, device) } -> std::convertible_to<int>;
  { runtime.synchronize() } -> std::convertible_to<int>;
  { runtime.error_text(0) } -> std::convertible_to<const char*>;
};

/// The device that pages move to, and how many bytes may be pinned there.
struct CudaManagedOptions {
  int device = 0;
  std::size_t budget = std::size_t{1} << 30;        ///< of device memory for pinned ranges
  std::size_t extent_bytes = std::size_t{2} << 20;  ///< of walks; the driver's pages are 2 MiB
};

/// A handle; copies share the runtime and the memory, and so do pins. Any number of threads may
/// call it at a time.
template <ManagedRuntime Runtime>
class CudaManagedPager {
  struct Shared {
    Runtime runtime;
    CudaManagedOptions options;
    std::mutex mutex;
    std::size_t pinned = 0;
    int failed = 0;  // code of a move back that failed, for the next call
    PagerCounters counters;

    void check(int code, const char* what) {
      require<DeviceError>(code == 0, "managed memory: ", what,
                           " failed: ", runtime.error_text(code));
    }
    void throw_failure() { check(std::exchange(failed, 0), "the move back to the host"); }
  };

 public:
  /// Keeps a range on the device while it lives.
  class Pin {
   public:
    Pin() = default;
    Pin(Pin&& other) noexcept
        : shared_(std::move(other.shared_)), at_(other.at_), bytes_(other.bytes_) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(shared_, other.shared_);
      std::swap(at_, other.at_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Pin() {
      if (!shared_) return;
      const std::scoped_lock lock(shared_->mutex);
      shared_->pinned -= bytes_;
      const int code = shared_->runtime.prefetch(at_, bytes_, -1);
      if (code != 0 && shared_->failed == 0) shared_->failed = code;
      ++shared_->counters.evictions;
      shared_->counters.bytes_out += static_cast<Index>(bytes_);
    }

   private:
    friend CudaManagedPager;
    Pin(std::shared_ptr<Shared> shared, void* at, std::size_t bytes)
        : shared_(std::move(shared)), at_(at), bytes_(bytes) {}
    std::shared_ptr<Shared> shared_;
    void* at_ = nullptr;
    std::size_t bytes_ = 0;
  };

  explicit CudaManagedPager(Runtime runtime, const CudaManagedOptions& options = {})
      : shared_(std::make_shared<Shared>()) {
    shared_->runtime = std::move(runtime);
    shared_->options = options;
  }

  /// Zeroed memory that prefers the host; a request for 0 bytes gets 1. Throws DeviceError; then
  /// nothing is kept.
  void* allocate(std::size_t bytes) {
    const std::scoped_lock lock(shared_->mutex);
    void* at = nullptr;
    bytes = std::max<std::size_t>(1, bytes);  // the runtime advises and clears no empty range
    shared_->check(shared_->runtime.allocate_managed(&at, bytes), "allocation");
    try {
      shared_->check(shared_->runtime.prefer(at, bytes, -1), "advice");
      shared_->check(shared_->runtime.clear(at, bytes), "clearing");
      shared_->check(shared_->runtime.synchronize(), "synchronization");
    } catch (...) {
      shared_->runtime.release(at);
      throw;
    }
    return at;
  }
  /// Gives memory of `allocate` back; nothing of it may be pinned.
  void deallocate(void* at, std::size_t) noexcept {
    const std::scoped_lock lock(shared_->mutex);
    shared_->runtime.release(at);
  }

  /// Moves a range to the device and waits. Throws Error for more pinned bytes than the budget,
  /// DeviceError where the runtime fails; then it is not pinned.
  Pin pin(const void* at, std::size_t bytes, Access = Access::write) {
    const std::scoped_lock lock(shared_->mutex);
    shared_->throw_failure();
    if (bytes == 0) return Pin();
    require<Error>(bytes <= shared_->options.budget - shared_->pinned,
                   "pager: ", shared_->pinned + bytes,
                   " bytes would be pinned at once, but the budget is ", shared_->options.budget);
    void* place = const_cast<void*>(at);
    shared_->check(shared_->runtime.prefetch(place, bytes, shared_->options.device),
                   "the move to the device");
    shared_->check(shared_->runtime.synchronize(), "synchronization");
    shared_->pinned += bytes;
    ++shared_->counters.hits;
    shared_->counters.bytes_in += static_cast<Index>(bytes);
    return Pin(shared_, place, bytes);
  }
  /// Begins to move a range to the device.
  void prefetch(const void* at, std::size_t bytes, Access = Access::write) {
    const std::scoped_lock lock(shared_->mutex);
    shared_->throw_failure();
    if (bytes == 0) return;
    shared_->check(shared_->runtime.prefetch(const_cast<void*>(at), bytes, shared_->options.device),
                   "the move to the device");
    ++shared_->counters.prefetched;
  }

  /// The options, and what was counted so far.
  std::size_t extent_bytes() const { return shared_->options.extent_bytes; }
  std::size_t budget() const { return shared_->options.budget; }
  PagerCounters counters() const {
    const std::scoped_lock lock(shared_->mutex);
    return shared_->counters;
  }
  friend bool operator==(const CudaManagedPager& a, const CudaManagedPager& b) {
    return a.shared_ == b.shared_;
  }

 private:
  std::shared_ptr<Shared> shared_;
};

}  // namespace qlora::inline QLORA_ABI
