// Blocks of a kernel that run at once on a multiprocessor, by the toolkit's cuda_occupancy.h:
//
//   occupancy < LINES     # a line: compute capability (80), threads, registers a thread, bytes of
//   shared memory
#include <cstdio>

#include <cuda_occupancy.h>

int main() {
  int capability, threads, registers, shared;
  while (std::scanf("%d %d %d %d", &capability, &threads, &registers, &shared) == 4) {
    cudaOccDeviceProp device{};
    device.computeMajor = capability / 10;
    device.computeMinor = capability % 10;
    device.maxThreadsPerBlock = 1024;
    const bool small = capability == 89 || capability == 120;
    device.maxThreadsPerMultiprocessor = small ? 1536 : 2048;
    device.regsPerBlock = device.regsPerMultiprocessor = 65536;
    device.warpSize = 32;
    device.sharedMemPerBlock = 49152;
    device.reservedSharedMemPerBlock = 1024;
    device.sharedMemPerMultiprocessor = (capability == 80 ? 164
                                         : small          ? 100
                                                          : 228) *
                                        std::size_t{1024};
    device.sharedMemPerBlockOptin = device.sharedMemPerMultiprocessor - 1024;
    device.numSms = 1;
    cudaOccFuncAttributes kernel{};
    kernel.maxThreadsPerBlock = 1024;
    kernel.numRegs = registers;
    kernel.sharedSizeBytes = static_cast<std::size_t>(shared);
    kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
    kernel.maxDynamicSharedSizeBytes = 0;
    const cudaOccDeviceState state{};
    cudaOccResult result{};
    const cudaOccError error =
        cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, 0);
    std::printf("%d\n", error == CUDA_OCC_SUCCESS ? result.activeBlocksPerMultiprocessor : 0);
  }
}
