// The tests of kernels give the device memory of the host's: vectors and matrices where they lie. A
// device that cannot read pageable memory can read what is registered with its driver; so all of
// the heap lies in one range here, and that range is registered.
#pragma once

#include <cuda_runtime_api.h>
#include <malloc.h>

#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace test {

class RegisteredHeap {
 public:
  static RegisteredHeap& instance() {
    static RegisteredHeap heap;
    return heap;
  }

  // To be called first in main, before the driver takes addresses beside the heap: one arena for
  // all threads that never shrinks and is large from the start.
  void reserve() {
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
    void* grown = std::malloc(room);
    const auto place = reinterpret_cast<std::uintptr_t>(grown);
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      Range range;
      if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR, &range.begin, &range.end) != 2)
        continue;
      if (line.find("[heap]") != std::string::npos || (range.begin <= place && place < range.end))
        ranges_.push_back(range);
    }
    std::free(grown);
  }

  // Gives the heap to the driver. Empty when all is well, else the reason why the device cannot
  // read the host's memory.
  std::string prepare() {
    int pageable = 0, same_address = 0;
    cudaDeviceGetAttribute(&pageable, cudaDevAttrPageableMemoryAccess, 0);
    everything_ = pageable != 0;
    if (everything_) return {};
    cudaDeviceGetAttribute(&same_address, cudaDevAttrCanUseHostPointerForRegisteredMem, 0);
    if (same_address == 0) return "registered memory has another address on the device";
    std::size_t all = 0;
    for (const Range& range : ranges_) {
      const auto code = cudaHostRegister(reinterpret_cast<void*>(range.begin),
                                         range.end - range.begin, cudaHostRegisterDefault);
      if (code != cudaSuccess)
        return std::string("the heap could not be registered: ") + cudaGetErrorString(code);
      all += range.end - range.begin;
    }
    return all >= room ? "" : "the heap is smaller than it should be";
  }

  // Whether the device can read and write this memory.
  bool holds(const void* at, std::size_t bytes) const {
    const auto place = reinterpret_cast<std::uintptr_t>(at);
    bool held = everything_ || bytes == 0;
    for (const Range& range : ranges_)
      held = held || (place >= range.begin && place + bytes <= range.end);
    return held;
  }

 private:
  static constexpr std::size_t room = std::size_t{768} << 20;
  struct Range {
    std::uintptr_t begin = 0, end = 0;
  };
  std::vector<Range> ranges_;
  bool everything_ = false;
};

}  // namespace test
