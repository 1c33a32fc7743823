// The kernels' tests (tests/cuda) on a real device. Ends with 77 where there is none that can read
// the host's memory.
#define CATCH_CONFIG_RUNNER
#include <cstdio>

#include "qlora/cuda/cuda_runtime.hpp"
#include "support/catch.hpp"

int main(int argc, char** argv) {
  if (qlora::cuda::device_count() == 0) {
    std::puts("skipped: no CUDA device");
    return 77;
  }
  int pageable = 0;
  cudaDeviceGetAttribute(&pageable, cudaDevAttrPageableMemoryAccess, 0);
  if (pageable == 0) {
    std::puts("skipped: the device cannot read the host's memory; its tests need that");
    return 77;
  }
  return Catch::Session().run(argc, argv);
}
