/// Runs work beside the caller, in order. Pagers use it to bring memory in ahead of time and to
/// write it back.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// One thread that runs jobs in the order in which they came; any number of threads may submit
/// some. Jobs must not throw. Jobs that have not begun when it is destroyed are dropped.
class BackgroundThread {
 public:
  BackgroundThread() : thread_([this](const std::stop_token& stop) { run(stop); }) {}

  /// Adds a job behind those that are waiting.
  void submit(std::function<void()> job) {
    {
      const std::scoped_lock lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    ready_.notify_one();
  }

 private:
  void run(const std::stop_token& stop) {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock lock(mutex_);
        if (!ready_.wait(lock, stop, [&] { return !jobs_.empty(); })) return;
        if (stop.stop_requested()) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any ready_;
  std::deque<std::function<void()>> jobs_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace qlora::inline QLORA_ABI
