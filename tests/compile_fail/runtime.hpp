// A device's runtime of which nothing is ever run.
#pragma once

#include <qlora/cuda/runtime.hpp>

struct NoRuntime {
  int allocate(void**, std::size_t) { return 0; }
  int allocate_managed(void**, std::size_t) { return 0; }
  int release(void*) { return 0; }
  int clear(void*, std::size_t) { return 0; }
  int copy_in(void*, const void*, std::size_t) { return 0; }
  int copy_out(void*, const void*, std::size_t) { return 0; }
  int copy_within(void*, const void*, std::size_t) { return 0; }
  int prefer(void*, std::size_t, int) { return 0; }
  int prefetch(void*, std::size_t, int) { return 0; }
  int synchronize() { return 0; }
  int work_waits_for_moves() { return 0; }
  int moves_wait_for_work() { return 0; }
  int device() const { return 0; }
  const char* error_text(int) const { return ""; }
  template <qlora::cuda::Kernel K>
  int launch(const K&) {
    return 0;
  }
};
