// The kernels' tests (tests/cuda) on a real device. Ends with 77 where there is none; a device that
// cannot be given the host's memory is a failure, since nothing would be tested.
#define CATCH_CONFIG_RUNNER
#include <cstdio>

#include "gpu/registered_heap.hpp"
#include "qlora/cuda/cuda_runtime.hpp"
#include "support/catch.hpp"

int main(int argc, char** argv) {
  test::RegisteredHeap::instance().reserve();
  if (qlora::cuda::device_count() == 0) {
    std::puts("skipped: no CUDA device");
    return 77;
  }
  if (const std::string reason = test::RegisteredHeap::instance().prepare(); !reason.empty()) {
    std::printf("test_gpu: the device cannot read the host's memory: %s\n", reason.c_str());
    return 1;
  }
  return Catch::Session().run(argc, argv);
}
