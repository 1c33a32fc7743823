/// The kernel's own queue of work (io_uring, through liburing) for what a pager does beside its
/// caller. Used where QLORA_USE_URING is defined (qlora::memory in CMake, where liburing is found)
/// and the kernel grants it; a thread serves elsewhere.
#pragma once

#include <functional>
#include <memory>

#include "qlora/core/config.hpp"

#if defined(QLORA_USE_URING)
#include <fcntl.h>
#include <liburing.h>

#include <mutex>
#include <thread>
#include <utility>
#endif

namespace qlora {

#if defined(QLORA_USE_URING)

class Uring {
 public:
  /// Gets 0, or the negative errno of what failed first. Runs in the queue's thread; must not
  /// throw.
  using Done = std::function<void(int)>;

  /// Null where the kernel has no queue for this process.
  static std::unique_ptr<Uring> make() {
    auto made = std::unique_ptr<Uring>(new Uring);
    if (io_uring_queue_init(entries, &made->ring_, 0) != 0) return nullptr;
    made->works_ = true;
    made->thread_ = std::thread([ring = made.get()] { ring->run(); });
    return made;
  }
  ~Uring() {
    if (!works_) return;
    {
      const std::scoped_lock lock(mutex_);
      if (io_uring_sqe* entry = next_entry()) {
        io_uring_prep_nop(entry);
        entry->flags |= IOSQE_IO_DRAIN;  // after everything else
        io_uring_sqe_set_data(entry, nullptr);
        io_uring_submit(&ring_);
      }
    }
    thread_.join();
    io_uring_queue_exit(&ring_);
  }
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;

  /// Waits for earlier write-back of a range of a file, then advises its map; false where the queue
  /// is full, and `done` is not called.
  bool bring_in(int file, std::size_t offset, void* at, std::size_t bytes, int advice, Done done) {
    const std::scoped_lock lock(mutex_);
    if (io_uring_sq_space_left(&ring_) < 2) return false;
    auto* pending = new Pending{std::move(done), 2, 0};
    io_uring_sqe* wait = io_uring_get_sqe(&ring_);
    io_uring_prep_sync_file_range(wait, file, static_cast<unsigned>(bytes), offset,
                                  SYNC_FILE_RANGE_WAIT_BEFORE);
    wait->flags |= IOSQE_IO_LINK;
    io_uring_sqe_set_data(wait, pending);
    io_uring_sqe* advise = io_uring_get_sqe(&ring_);
    io_uring_prep_madvise(advise, at, static_cast<off_t>(bytes), advice);
    io_uring_sqe_set_data(advise, pending);
    io_uring_submit(&ring_);
    return true;
  }

  /// Begins to write back a range of a file; false where the queue is full.
  bool write_back(int file, std::size_t offset, std::size_t bytes, Done done) {
    const std::scoped_lock lock(mutex_);
    io_uring_sqe* entry = next_entry();
    if (!entry) return false;
    io_uring_prep_sync_file_range(entry, file, static_cast<unsigned>(bytes), offset,
                                  SYNC_FILE_RANGE_WRITE);
    io_uring_sqe_set_data(entry, new Pending{std::move(done), 1, 0});
    io_uring_submit(&ring_);
    return true;
  }

 private:
  static constexpr unsigned entries = 256;
  struct Pending {
    Done done;
    int left;    // entries that have not come back
    int result;  // the first that failed
  };

  Uring() = default;

  io_uring_sqe* next_entry() {
    return io_uring_sq_space_left(&ring_) > 0 ? io_uring_get_sqe(&ring_) : nullptr;
  }

  void run() {
    for (;;) {
      io_uring_cqe* entry = nullptr;
      if (io_uring_wait_cqe(&ring_, &entry) != 0) continue;  // a signal came
      auto* pending = static_cast<Pending*>(io_uring_cqe_get_data(entry));
      const int result = entry->res;
      io_uring_cqe_seen(&ring_, entry);
      if (!pending) return;
      if (result < 0 && pending->result == 0) pending->result = result;
      if (--pending->left > 0) continue;
      const std::unique_ptr<Pending> finished(pending);
      finished->done(finished->result);
    }
  }

  io_uring ring_{};
  bool works_ = false;
  std::mutex mutex_;  // of submissions
  std::thread thread_;
};

#else

/// Never there.
class Uring {
 public:
  using Done = std::function<void(int)>;
  static std::unique_ptr<Uring> make() { return nullptr; }
  bool bring_in(int, std::size_t, void*, std::size_t, int, const Done&) { return false; }
  bool write_back(int, std::size_t, std::size_t, const Done&) { return false; }
};

#endif

}  // namespace qlora
