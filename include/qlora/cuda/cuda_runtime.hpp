/// The CUDA runtime as a DeviceRuntime: two streams, one for work and one for moves of managed
/// memory. For .cu files; CUDA 12.4 or later.
#pragma once

#if defined(__CUDACC__)

#include <cuda_runtime_api.h>

#include <memory>

#include "qlora/core/config.hpp"
#include "qlora/cuda/runtime.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// Devices that can be used; 0 also where there is no driver.
inline int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

/// Work of one device in the order of its calls. Copies share the streams. Each call makes the
/// device the calling thread's current one. A runtime and its copies belong to one thread at a
/// time.
class CudaRuntime {
 public:
  /// Throws DeviceError where the device cannot be used.
  explicit CudaRuntime(int device = 0) : streams_(std::make_shared<Streams>()), device_(device) {
    for (const int code : {int(cudaSetDevice(device)), int(cudaStreamCreate(&streams_->work)),
                           int(cudaStreamCreate(&streams_->moves)),
                           int(cudaEventCreateWithFlags(&streams_->event, cudaEventDisableTiming))})
      require<DeviceError>(code == 0, "device ", device, ": ", error_text(code));
  }

  /// Where kernels run and copies are made, for launches of one's own.
  cudaStream_t stream() const { return streams_->work; }
  /// The device's number.
  int device() const { return device_; }

  /// The calls of DeviceRuntime. Each gives CUDA's code, 0 for success.
  int allocate(void** place, std::size_t bytes) {
    return here([&] { return cudaMalloc(place, bytes > 0 ? bytes : 1); });
  }
  int allocate_managed(void** place, std::size_t bytes) {
    return here([&] { return cudaMallocManaged(place, bytes > 0 ? bytes : 1); });
  }
  int release(void* at) {
    return here([&] { return cudaFree(at); });
  }
  int clear(void* at, std::size_t bytes) {
    return here([&] { return cudaMemsetAsync(at, 0, bytes, streams_->work); });
  }
  int copy_in(void* to, const void* from, std::size_t bytes) {
    return copy(to, from, bytes, cudaMemcpyHostToDevice);
  }
  int copy_out(void* to, const void* from, std::size_t bytes) {
    return copy(to, from, bytes, cudaMemcpyDeviceToHost);
  }
  int copy_within(void* to, const void* from, std::size_t bytes) {
    return copy(to, from, bytes, cudaMemcpyDeviceToDevice);
  }
  template <Kernel K>
  int launch(const K& kernel) {
    return here([&] {
      run<<<static_cast<unsigned>(kernel.blocks()), K::threads, 0, streams_->work>>>(kernel);
      return cudaGetLastError();
    });
  }
  /// Device -1 is the host.
  int prefer(void* at, std::size_t bytes, int device) {
#if CUDART_VERSION >= 13000
    return cudaMemAdvise(at, bytes, cudaMemAdviseSetPreferredLocation, place(device));
#else
    return cudaMemAdvise_v2(at, bytes, cudaMemAdviseSetPreferredLocation, place(device));
#endif
  }
  int prefetch(void* at, std::size_t bytes, int device) {
#if CUDART_VERSION >= 13000
    return here([&] { return cudaMemPrefetchAsync(at, bytes, place(device), 0, streams_->moves); });
#else
    return here(
        [&] { return cudaMemPrefetchAsync_v2(at, bytes, place(device), 0, streams_->moves); });
#endif
  }
  int synchronize() {
    const int code = cudaStreamSynchronize(streams_->work);
    return code != 0 ? code : int(cudaStreamSynchronize(streams_->moves));
  }
  int work_waits_for_moves() { return order(streams_->moves, streams_->work); }
  int moves_wait_for_work() { return order(streams_->work, streams_->moves); }
  const char* error_text(int code) const {
    return cudaGetErrorString(static_cast<cudaError_t>(code));
  }

 private:
  struct Streams {
    cudaStream_t work = nullptr, moves = nullptr;
    cudaEvent_t event = nullptr;
    ~Streams() {
      if (work) cudaStreamDestroy(work);
      if (moves) cudaStreamDestroy(moves);
      if (event) cudaEventDestroy(event);
    }
  };

  static cudaMemLocation place(int device) {
    cudaMemLocation location{};
    location.type = device < 0 ? cudaMemLocationTypeHost : cudaMemLocationTypeDevice;
    location.id = device < 0 ? 0 : device;
    return location;
  }
  /// A call with this device as the calling thread's: another runtime or thread may have set
  /// another.
  template <class Call>
  int here(Call call) const {
    const int code = cudaSetDevice(device_);
    return code != 0 ? code : int(call());
  }
  int copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    return here([&] { return cudaMemcpyAsync(to, from, bytes, kind, streams_->work); });
  }
  int order(cudaStream_t first, cudaStream_t second) {
    return here([&] {
      const auto code = cudaEventRecord(streams_->event, first);
      return code != cudaSuccess ? code : cudaStreamWaitEvent(second, streams_->event, 0);
    });
  }

  std::shared_ptr<Streams> streams_;
  int device_;
};
static_assert(DeviceRuntime<CudaRuntime>);

}  // namespace qlora::inline QLORA_ABI::cuda

#endif
