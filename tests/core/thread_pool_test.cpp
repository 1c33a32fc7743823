#include "qlora/core/thread_pool.hpp"

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <numeric>
#include <thread>
#include <vector>

#include "qlora/core/parallel.hpp"
#include "support/catch.hpp"
#include "support/sanitized.hpp"
#include "support/threads.hpp"

using namespace std::chrono_literals;
using qlora::Index;
using test::Threads;

namespace {

// Waits for a condition that other threads bring about; false if it takes longer than any machine.
template <class Condition>
bool comes_true(Condition&& condition) {
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(100us);
  }
  return true;
}

// Every body waits until `threads` of them have begun.
bool runs_on(int threads) {
  std::atomic<int> begun = 0;
  std::atomic<bool> all = true;
  qlora::parallel_for(threads, [&](Index) {
    ++begun;
    if (!comes_true([&] { return begun == threads; })) all = false;
  });
  return all;
}

Index sum_of_a_loop(Index count) {
  std::vector<Index> parts(static_cast<std::size_t>(count));
  qlora::parallel_for(count, [&](Index i) { parts[static_cast<std::size_t>(i)] = i; });
  return std::accumulate(parts.begin(), parts.end(), Index{0});
}

int threads_of_this_process() {
  int count = 0;
  DIR* tasks = opendir("/proc/self/task");
  while (const dirent* task = readdir(tasks)) count += task->d_name[0] != '.';
  closedir(tasks);
  return count;
}

double cpu_seconds() {
  timespec spent;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + 1e-9 * static_cast<double>(spent.tv_nsec);
}

}  // namespace

TEST_CASE("a loop has as many threads as are set, and later ones more or fewer") {
  for (const int threads : {2, 6, 3, 6, 1}) {
    const Threads some(threads);
    REQUIRE(runs_on(threads));
  }
}

TEST_CASE("threads that a smaller number leaves without work end") {
  const Threads six(6);
  REQUIRE(runs_on(6));
  const int before = threads_of_this_process();
  const Threads two(2);
  REQUIRE(runs_on(2));
  REQUIRE(comes_true([&] { return threads_of_this_process() == before - 4; }));
}

TEST_CASE("one long body does not keep the others waiting") {
  const Threads two(2);
  std::atomic<int> others = 0;
  std::atomic<bool> all = true;
  qlora::parallel_for(200, [&](Index i) {
    if (i == 0) {
      if (!comes_true([&] { return others == 199; })) all = false;
    } else {
      ++others;
    }
  });
  REQUIRE(all);
}

TEST_CASE("loops of different lengths follow each other, with and without a pause") {
  const Threads four(4);
  for (Index turn = 0; turn < 3000; ++turn) {
    const Index count = 2 + turn % 17;
    REQUIRE(sum_of_a_loop(count) == count * (count - 1) / 2);
    if (turn % 100 == 0) std::this_thread::sleep_for(1ms);
  }
}

TEST_CASE("loops that several threads start at once are all done") {
  const Threads three(3);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int turn = 0; turn < 300; ++turn) wrong += sum_of_a_loop(50) != 1225;
    });
  for (std::thread& caller : callers) caller.join();
  REQUIRE(wrong == 0);
}

TEST_CASE("no thread takes processor time 100 ms after a loop") {
  const Threads four(4);
  REQUIRE(runs_on(4));
  // Less than a tenth of what one spinning thread takes; another try where something else of the
  // process, such as a sanitizer's thread, was at work.
  double spent = 1;
  for (int turn = 0; turn < 20 && spent > 0.02; ++turn) {
    REQUIRE(sum_of_a_loop(100) == 4950);
    std::this_thread::sleep_for(100ms);
    const double before = cpu_seconds();
    std::this_thread::sleep_for(200ms);
    spent = cpu_seconds() - before;
  }
  REQUIRE(spent <= 0.02);
}

TEST_CASE("signals for the process do not reach the pool's threads, faults do") {
  const Threads four(4);
  std::atomic<int> begun = 0, wrong = 0;
  const pthread_t caller = pthread_self();
  qlora::parallel_for(4, [&](Index) {
    ++begun;
    if (!comes_true([&] { return begun == 4; })) ++wrong;
    if (pthread_equal(caller, pthread_self())) return;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    wrong += !sigismember(&blocked, SIGINT) || !sigismember(&blocked, SIGTERM);
    wrong += sigismember(&blocked, SIGSEGV) || sigismember(&blocked, SIGBUS);
  });
  REQUIRE(wrong == 0);
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  REQUIRE_FALSE(sigismember(&blocked, SIGINT));
}

// The thread sanitizer lets no process with threads fork and start new ones.
#if !QLORA_THREAD_SANITIZED
TEST_CASE("after a fork, parent and child both have threads, and both end") {
  const Threads three(3);
  REQUIRE(runs_on(3));
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const bool right = runs_on(3) && sum_of_a_loop(1000) == 499500;
    // As at the end of main: what is static is destroyed, and the child's threads are joined.
    if (right) std::exit(0);
    _exit(1);
  }
  REQUIRE(runs_on(3));
  int status = -1;
  REQUIRE(comes_true([&] { return waitpid(child, &status, WNOHANG) == child; }));
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
}

TEST_CASE("a child forked while another thread is in a loop has threads of its own") {
  const Threads three(3);
  std::atomic<bool> begun = false, forked = false;
  std::thread other([&] {
    qlora::parallel_for(3, [&](Index) {
      begun = true;
      comes_true([&] { return forked.load(); });
    });
  });
  REQUIRE(comes_true([&] { return begun.load(); }));
  const pid_t child = fork();
  if (child == 0) _exit(runs_on(3) ? 0 : 1);
  forked = true;
  other.join();
  int status = -1;
  REQUIRE(child > 0);
  REQUIRE(comes_true([&] { return waitpid(child, &status, WNOHANG) == child; }));
  REQUIRE((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}
#endif
