/// Loops over OpenMP's threads, serial without it. Results never depend on which thread ran what.
///
///     qlora::parallel_for(rows, [&](Index row) { ... });
#pragma once

#include <exception>

#include "qlora/core/config.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace qlora {

/// The number of threads a parallel loop may use here (1 inside another parallel loop).
inline int thread_count() {
#if defined(_OPENMP)
  return omp_in_parallel() ? 1 : omp_get_max_threads();
#else
  return 1;
#endif
}

/// Calls `body(i)` for i in [0, count), each once. The first exception is rethrown after the loop.
template <class Body>
void parallel_for(Index count, Body&& body) {
#if defined(_OPENMP)
  if (count > 1 && thread_count() > 1) {
    std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic, 1)
    for (Index i = 0; i < count; ++i) {
      try {
        body(i);
      } catch (...) {
#pragma omp critical(qlora_parallel_for)
        if (!failure) failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
    return;
  }
#endif
  for (Index i = 0; i < count; ++i) body(i);
}

/// Calls `body(begin, end)` for consecutive ranges of `grain` that cover [0, count).
template <class Body>
void parallel_ranges(Index count, Index grain, Body&& body) {
  const Index ranges = (count + grain - 1) / grain;
  parallel_for(ranges, [&](Index range) {
    const Index begin = range * grain;
    body(begin, begin + grain < count ? begin + grain : count);
  });
}

/// A range length that gives every thread `per_thread` ranges of at least `smallest`, a multiple of
/// `smallest`.
inline Index grain_for(Index count, Index smallest, Index per_thread = 1) {
  const Index wanted = thread_count() * per_thread;
  const Index even = (count + wanted - 1) / wanted;
  return even <= smallest ? smallest : (even + smallest - 1) / smallest * smallest;
}

}  // namespace qlora
