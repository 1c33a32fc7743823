// SIGINT, SIGTERM and SIGHUP of a program that has something to save or to clear away:
//
//   program::StopSignals signals([&] { output.discard(); });
//   signals.ask_first(true);                       // from here on there is something to save
//   while (signals.asked() == 0) step();
//   return 128 + signals.asked();
#pragma once

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "qlora/core/error.hpp"

namespace program {

inline std::string signal_name(int signal) {
  return signal == SIGINT ? "SIGINT" : signal == SIGHUP ? "SIGHUP" : "SIGTERM";
}

// A thread of its own waits for the signals, so that what it does may allocate and print. It must
// be there before other threads are: they take over that the signals are blocked.
class StopSignals {
 public:
  // `abandon` runs in that thread before the program ends at once.
  explicit StopSignals(std::function<void()> abandon) : abandon_(std::move(abandon)) {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    thread_ = std::thread([this] { wait(); });
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals() {
    ends_ = true;
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

  // Whether the first signal only asks; otherwise, and at the second one, the program ends with
  // 128 + the signal's number.
  void ask_first(bool on) { ask_ = on; }

  // The signal that came, or 0.
  int asked() const { return asked_; }

 private:
  // Not by std::cerr, which flushes std::cout first and would wait where nobody reads that.
  static void say(const std::string& text) {
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
  }
  void wait() {
    int signal = 0;
    while (sigwait(&signals_, &signal) == 0 && !ends_) {
      if (ask_.exchange(false)) {
        asked_ = signal;
        say(qlora::message("\n", signal_name(signal),
                           ": stopping after this step; a second signal ends at once\n"));
      } else {
        abandon_();
        std::_Exit(128 + signal);
      }
    }
  }

  std::function<void()> abandon_;
  sigset_t signals_{}, before_{};
  std::atomic<bool> ask_ = false, ends_ = false;
  std::atomic<int> asked_ = 0;
  std::thread thread_;
};

}  // namespace program
