/// The threads behind `parallel_for`, one set for the process.
///
/// A loop's units are claimed one by one from a ticket that holds the loop's number and the units
/// left. The caller claims too, so it waits only for units that another thread has begun, never
/// for a thread that has claimed nothing. Who waits spins for a moment, because the next loop of a
/// training step usually comes soon, and then sleeps in the kernel until there is something to do:
/// beside another job on the same processors, spinning threads would take its time and ours.
///
/// Threads are started by the first loop that needs them and joined when the process ends. A child
/// made by fork() starts its own. A fork inside a loop's body leaves the child one thread and half
/// a loop: such a child may call exec or _exit, and must not return from the body.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include "qlora/core/config.hpp"

/// OpenMP's function, null unless the program is linked with OpenMP. Eigen splits products over
/// OpenMP's threads in programs compiled for it, which must not happen inside a loop that has
/// threads already. The name is our own and stands for the assembler's, because compilers declare
/// the function differently.
extern "C" void qlora_omp_set_num_threads(int) __asm__("omp_set_num_threads") __attribute__((weak));
/// The same for the number that was set.
extern "C" int qlora_omp_get_max_threads() __asm__("omp_get_max_threads") __attribute__((weak));

namespace qlora::thread_detail {

/// Whether this thread is inside a parallel loop, whose loops run on the thread they are on.
inline constinit thread_local bool inside_loop = false;

/// The calling thread uses no threads of OpenMP while it lives.
class SerialOpenMp {
 public:
  SerialOpenMp() {
    if (!qlora_omp_set_num_threads || !qlora_omp_get_max_threads) return;
    before_ = qlora_omp_get_max_threads();
    qlora_omp_set_num_threads(1);
  }
  ~SerialOpenMp() {
    if (before_ > 0) qlora_omp_set_num_threads(before_);
  }
  SerialOpenMp(const SerialOpenMp&) = delete;
  SerialOpenMp& operator=(const SerialOpenMp&) = delete;

 private:
  int before_ = 0;
};

/// Threads that start while it lives get no signals but a profiler's and those that a fault of
/// their own raises: the others are for the program's threads.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF})
      sigdelset(&all, own);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

/// Tells the processor that this thread only waits.
inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb");
#endif
}

inline std::int64_t nanoseconds_now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// Waits a moment for `done()`; whether it came.
template <class Done>
bool spin_for(Done&& done) {
  constexpr std::int64_t moment = 30'000;  // nanoseconds; to sleep and be woken takes 5 to 50 us
  const std::int64_t until = nanoseconds_now() + moment;
  do {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      relax();
    }
  } while (nanoseconds_now() < until);
  return false;
}

class ThreadPool {
 public:
  /// Runs one unit of a loop.
  using Run = void (*)(void* loop, Index unit);

  /// Units of one loop at most: their count has 24 bits of the ticket.
  static constexpr Index most_units = (Index{1} << 24) - 1;

  ThreadPool() = default;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// The process's pool.
  static ThreadPool& instance() {
    ThreadPool* pool = current_.load(std::memory_order_acquire);
    return pool ? *pool : make();
  }

  /// Calls run(loop, unit) for units in [0, units) on at most `threads` threads, this one among
  /// them. False if another thread's loop has the pool: nothing was called. When units throw, the
  /// exception of the lowest one is rethrown, and later units may not have been called. units:
  /// in [2, most_units].
  bool run(int threads, Index units, void* loop, Run one) {
    std::exception_ptr failure;
    {
      const Turn turn(busy_);
      if (!turn.mine) return false;
      set_workers(threads - 1);
      begin(units, loop, one);
      {
        const SerialOpenMp serial;
        inside_loop = true;
        claim_all();
        inside_loop = false;
      }
      wait_for_others();
      failure.swap(failure_);
    }
    if (failure) std::rethrow_exception(failure);
    return true;
  }

 private:
  static constexpr int unit_bits = 24;
  static constexpr std::uint64_t unit_mask = most_units;

  struct Worker {
    Worker(ThreadPool* of, std::size_t at) : pool(of), place(at) {}
    ThreadPool* const pool;
    const std::size_t place;
    pthread_t thread{};
  };

  /// One thread at a time has the workers.
  struct Turn {
    explicit Turn(std::atomic<bool>& of)
        : busy(of), mine(!busy.exchange(true, std::memory_order_acquire)) {}
    ~Turn() {
      if (mine) busy.store(false, std::memory_order_release);
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    std::atomic<bool>& busy;
    const bool mine;
  };

  /// Publishes a loop.
  void begin(Index units, void* loop, Run one) {
    run_ = one;
    loop_ = loop;
    units_ = units;
    failed_.store(units, std::memory_order_relaxed);
    unfinished_.store(static_cast<std::uint32_t>(units), std::memory_order_relaxed);
    const std::uint64_t number = ticket_.load(std::memory_order_relaxed) >> unit_bits;
    ticket_.store((number + 1) << unit_bits | static_cast<std::uint64_t>(units));
    wake(units - 1);
  }

  /// Makes the process's pool, whatever thread comes first.
  static ThreadPool& make() {
    // The pool itself is never deleted: another thread may still be in a loop when the process
    // ends.
    static const struct Life {
      Life() { pthread_atfork(nullptr, nullptr, forget); }
      ~Life() {
        if (ThreadPool* pool = current_.load(std::memory_order_acquire)) pool->end();
      }
    } life;
    auto* made = new ThreadPool;
    ThreadPool* found = nullptr;
    if (current_.compare_exchange_strong(found, made)) {
      made->before_fork_ = forgotten_.exchange(nullptr);
      return *made;
    }
    delete made;
    return *found;
  }

  /// In the child of a fork: the threads of this pool live in the parent.
  static void forget() {
    if (ThreadPool* pool = current_.exchange(nullptr)) forgotten_.store(pool);
  }

  /// When the process ends; leaves a pool alone that runs a loop. Later loops run on one thread.
  void end() {
    if (!busy_.exchange(true, std::memory_order_acquire)) set_workers(0);
  }

  /// Starts or ends threads until there are `count`, or as many as the system grants.
  void set_workers(int count) {
    const auto wanted = static_cast<std::size_t>(count);
    if (wanted == wanted_) return;
    wanted_ = wanted;
    staying_.store(wanted);
    if (wanted < workers_.size()) {
      signal_.fetch_add(1);
      signal_.notify_all();
      for (; workers_.size() > wanted; workers_.pop_back())
        pthread_join(workers_.back()->thread, nullptr);
    }
    const SignalsBlocked blocked;
    while (workers_.size() < wanted) {
      workers_.push_back(std::make_unique<Worker>(this, workers_.size()));
      Worker* worker = workers_.back().get();
      if (pthread_create(&worker->thread, nullptr, live, worker) == 0) continue;
      workers_.pop_back();  // fewer threads have to do
      break;
    }
  }

  static void* live(void* argument) {
    const Worker& worker = *static_cast<Worker*>(argument);
    const SerialOpenMp serial;
    inside_loop = true;
    worker.pool->work(worker.place);
    return nullptr;
  }

  /// A worker's life.
  void work(std::size_t place) {
    const auto stays = [&] { return place < staying_.load(); };
    while (stays()) {
      if (spin_for([&] { return units_left() > 0 || !stays(); })) {
        claim_all();
        continue;
      }
      // Counted as asleep before the last look: who publishes a loop after it sees the count.
      const std::uint32_t seen = signal_.load();
      asleep_.fetch_add(1);
      if (units_left() == 0 && stays()) signal_.wait(seen);
      asleep_.fetch_sub(1);
    }
  }

  std::uint64_t units_left() const { return ticket_.load() & unit_mask; }

  /// Claims units until none is left, and runs them. What the loop is may be read only after a
  /// claim: then it can't end before the unit does.
  void claim_all() {
    std::uint32_t done = 0;
    std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
    while ((ticket & unit_mask) != 0) {
      if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel,
                                         std::memory_order_acquire))
        continue;
      run_unit(units_ - static_cast<Index>(ticket & unit_mask));
      ++done;
      ticket = ticket_.load(std::memory_order_acquire);
    }
    if (done > 0 && unfinished_.fetch_sub(done) == done) unfinished_.notify_one();
  }

  /// Units are claimed in order, so those before the first that fails all run.
  void run_unit(Index unit) {
    if (unit > failed_.load(std::memory_order_relaxed)) return;
    try {
      run_(loop_, unit);
    } catch (...) {
      const std::scoped_lock lock(failing_);
      if (unit > failed_.load(std::memory_order_relaxed)) return;
      failed_.store(unit, std::memory_order_relaxed);
      failure_ = std::current_exception();
    }
  }

  void wait_for_others() {
    const auto finished = [&] { return unfinished_.load() == 0; };
    if (finished() || spin_for(finished)) return;
    for (std::uint32_t left = unfinished_.load(); left != 0; left = unfinished_.load())
      unfinished_.wait(left);
  }

  /// Wakes sleeping workers for `units` units.
  void wake(Index units) {
    const Index asleep = asleep_.load();
    if (asleep == 0) return;
    signal_.fetch_add(1);
    if (units >= asleep) {
      signal_.notify_all();
    } else {
      for (Index i = 0; i < units; ++i) signal_.notify_one();
    }
  }

  static inline constinit std::atomic<ThreadPool*> current_ = nullptr;
  static inline constinit std::atomic<ThreadPool*> forgotten_ = nullptr;

  alignas(64) std::atomic<std::uint64_t> ticket_ = 0;      // the loop's number, units left
  alignas(64) std::atomic<std::uint32_t> unfinished_ = 0;  // units, claimed or not
  alignas(64) std::atomic<std::uint32_t> signal_ = 0;      // changes when sleepers have to look
  std::atomic<int> asleep_ = 0;
  std::atomic<std::size_t> staying_ = 0;  // workers from this place on leave

  // The loop's, written while it has no claimed unit.
  alignas(64) Run run_ = nullptr;
  void* loop_ = nullptr;
  Index units_ = 0;
  std::atomic<Index> failed_ = 0;  // the lowest unit that threw
  std::mutex failing_;
  std::exception_ptr failure_;

  // Of the one who holds busy_.
  alignas(64) std::atomic<bool> busy_ = false;
  std::size_t wanted_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;
  ThreadPool* before_fork_ = nullptr;
};

}  // namespace qlora::thread_detail
