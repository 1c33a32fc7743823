/// Loops over several threads. Results never depend on which thread ran what.
///
///     qlora::parallel_for(rows, [&](Index row) {
///       y.row(row) = 2 * x.row(row);
///     });
///
/// The threads are the library's own and sleep when they have nothing to do. Their number is
/// `thread_count()`: the processors that the process may use by its affinity and its cgroup's CPU
/// quota, or what the environment variable OMP_NUM_THREADS says when the library first asks, or
/// what `set_thread_count` said last.
#pragma once

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/processors.hpp"
#include "qlora/core/thread_pool.hpp"

namespace qlora {

namespace thread_detail {

inline constexpr int most_threads = 1 << 16;

/// The number of threads that OMP_NUM_THREADS asks for, the first one of a list; 0 without it.
/// Throws OptionError if it is no number.
inline int threads_asked(const char* variable) {
  if (!variable || !*variable) return 0;
  char* end = nullptr;
  const long count = std::strtol(variable, &end, 10);
  while (*end == ' ') ++end;
  require<OptionError>(count >= 1 && count <= most_threads && (*end == '\0' || *end == ','),
                       "OMP_NUM_THREADS: expected a number of threads from 1 to ", most_threads,
                       ", found '", variable, "'");
  return static_cast<int>(count);
}

inline std::atomic<int>& thread_setting() {
  static std::atomic<int> count = [] {
    const int asked = threads_asked(std::getenv("OMP_NUM_THREADS"));
    return asked > 0 ? asked : usable_processors();
  }();
  return count;
}

}  // namespace thread_detail

/// The number of threads that a loop started here may use: 1 inside another loop. Throws
/// OptionError if OMP_NUM_THREADS is set to anything but a number of threads. Safe to call from
/// several threads.
inline int thread_count() {
  return thread_detail::inside_loop
             ? 1
             : thread_detail::thread_setting().load(std::memory_order_relaxed);
}

/// Sets the number of threads of loops that start from now on, whatever thread starts them. Throws
/// OptionError unless `count` is from 1 to 65536. Safe to call from several threads.
inline void set_thread_count(int count) {
  require<OptionError>(count >= 1 && count <= thread_detail::most_threads,
                       "set_thread_count: expected a number from 1 to ",
                       thread_detail::most_threads, ", found ", count);
  thread_detail::thread_setting().store(count, std::memory_order_relaxed);
}

/// Calls `body(i)` for i in [0, count), each once, and returns when all have returned. If calls
/// throw, the exception of the lowest i is rethrown, as by a loop on one thread, and calls for
/// later i may be left out. Runs on the calling thread alone inside another loop, and while another
/// thread's loop has the threads. Safe to call from several threads; `body` is called from several
/// at once.
template <class Body>
void parallel_for(Index count, Body&& body) {
  if (count > 1 && thread_count() > 1) {
    struct Loop {
      Body& body;
      Index count, step;
    } loop{body, count, (count - 1) / thread_detail::ThreadPool::most_units + 1};
    const auto run = [](void* of, Index unit) {
      const Loop& all = *static_cast<const Loop*>(of);
      const Index begin = unit * all.step;
      const Index end = all.step < all.count - begin ? begin + all.step : all.count;
      for (Index i = begin; i < end; ++i) all.body(i);
    };
    const Index units = (count - 1) / loop.step + 1;
    if (thread_detail::ThreadPool::instance().run(thread_count(), units, &loop, run)) return;
  }
  for (Index i = 0; i < count; ++i) body(i);
}

/// Calls `body(begin, end)` for consecutive ranges of length `grain` that cover [0, count); the
/// last one may be shorter. Everything else is as for parallel_for.
template <class Body>
void parallel_ranges(Index count, Index grain, Body&& body) {
  const Index ranges = (count + grain - 1) / grain;
  parallel_for(ranges, [&](Index range) {
    const Index begin = range * grain;
    body(begin, begin + grain < count ? begin + grain : count);
  });
}

/// A length for parallel_ranges: a multiple of `smallest` that gives each thread about `per_thread`
/// ranges. Safe to call from several threads.
inline Index grain_for(Index count, Index smallest, Index per_thread = 1) {
  const Index wanted = thread_count() * per_thread;
  const Index even = (count + wanted - 1) / wanted;
  return even <= smallest ? smallest : (even + smallest - 1) / smallest * smallest;
}

}  // namespace qlora
