/// The kernel's own queue of work (io_uring, through liburing), which a pager uses beside its
/// caller. It is compiled in where QLORA_USE_URING is defined; qlora::memory defines it in CMake
/// where liburing is found. Where the kernel refuses the queue, a thread does the work.
#pragma once

#include <functional>
#include <memory>

#include "qlora/core/config.hpp"

#if defined(QLORA_USE_URING)
#include <fcntl.h>
#include <liburing.h>

#include <cerrno>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#endif

namespace qlora::inline QLORA_ABI::inline QLORA_ABI_RING {

#if defined(QLORA_USE_URING)

/// A queue with a thread that waits for what comes back. Any number of threads may hand work in.
class Uring {
 public:
  /// Gets 0 or more, or the negative errno of what failed first. Runs in the queue's thread; must
  /// not throw.
  using Done = std::function<void(int)>;
  /// Hands what is prepared to the kernel, as io_uring_submit does.
  using Submit = int (*)(io_uring*);

  /// Returns null where the kernel has no queue for this process.
  static std::unique_ptr<Uring> make(Submit submit = io_uring_submit) {
    auto made = std::unique_ptr<Uring>(new Uring(submit));
    if (io_uring_queue_init(entries, &made->ring_, 0) != 0) return nullptr;
    try {
      made->thread_ = std::thread([ring = made.get()] { ring->run(); });
    } catch (const std::system_error&) {
      io_uring_queue_exit(&made->ring_);
      return nullptr;
    }
    return made;
  }
  /// Waits for what the kernel took.
  ~Uring() {
    if (!thread_.joinable()) return;
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
    io_uring_queue_exit(&ring_);
  }
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;

  /// Waits for earlier write-back of a range of a file, then advises its map. False where the
  /// kernel does not take it, or can't count its bytes; then `done` is not called.
  bool bring_in(int file, std::size_t offset, void* at, std::size_t bytes, int advice, Done done) {
    if (!countable(bytes)) return false;
    auto pending = std::make_unique<Pending>(Pending{std::move(done), {}});
    pending->next = [at, bytes, advice](io_uring_sqe* entry) {
      io_uring_prep_madvise(entry, at, static_cast<off_t>(bytes), advice);
    };
    return hand_in(
        [&](io_uring_sqe* entry) {
          io_uring_prep_sync_file_range(entry, file, static_cast<unsigned>(bytes), offset,
                                        SYNC_FILE_RANGE_WAIT_BEFORE);
        },
        pending);
  }

  /// Begins to write back a range of a file; false as for bring_in.
  bool write_back(int file, std::size_t offset, std::size_t bytes, Done done) {
    if (!countable(bytes)) return false;
    auto pending = std::make_unique<Pending>(Pending{std::move(done), {}});
    return hand_in(
        [&](io_uring_sqe* entry) {
          io_uring_prep_sync_file_range(entry, file, static_cast<unsigned>(bytes), offset,
                                        SYNC_FILE_RANGE_WRITE);
        },
        pending);
  }

 private:
  static constexpr unsigned entries = 256;
  struct Pending {
    Done done;
    std::function<void(io_uring_sqe*)> next;  // what follows if the first went well
  };

  explicit Uring(Submit submit) : submit_(submit) {}

  /// The kernel counts in 32 bits, and takes 0 for the rest of the file.
  static bool countable(std::size_t bytes) {
    return bytes > 0 && bytes <= std::numeric_limits<unsigned>::max();
  }

  /// Prepares one entry and hands it in; takes `pending` where the kernel takes the entry.
  template <class Prepare>
  bool hand_in(const Prepare& prepare, std::unique_ptr<Pending>& pending) {
    const std::scoped_lock lock(mutex_);
    if (io_uring_sq_space_left(&ring_) == 0) submit_(&ring_);  // entries that were refused before
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    if (!entry) return false;
    prepare(entry);
    io_uring_sqe_set_data(entry, pending.get());
    submit_(&ring_);
    // Entries are taken in order, so that this one is not taken where any is left. It can't be
    // withdrawn, but made to do nothing when a later call hands it in.
    if (io_uring_sq_ready(&ring_) > 0) {
      io_uring_prep_nop(entry);
      io_uring_sqe_set_data(entry, nullptr);
      return false;
    }
    pending.release();
    ++taken_;
    wake_.notify_one();
    return true;
  }

  /// Waits in the kernel only while something is there that comes back.
  void run() {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return taken_ > 0 || stopping_; });
        if (taken_ == 0) return;
      }
      io_uring_cqe* entry = nullptr;
      if (io_uring_wait_cqe(&ring_, &entry) != 0) continue;  // a signal came
      std::unique_ptr<Pending> pending(static_cast<Pending*>(io_uring_cqe_get_data(entry)));
      int result = entry->res;
      io_uring_cqe_seen(&ring_, entry);
      if (!pending) continue;  // one that was refused
      {
        const std::scoped_lock lock(mutex_);
        --taken_;
      }
      if (result >= 0 && pending->next) {
        const auto next = std::exchange(pending->next, nullptr);
        if (hand_in(next, pending)) continue;
        result = -EAGAIN;
      }
      pending->done(result);
    }
  }

  Submit submit_;
  io_uring ring_{};
  std::mutex mutex_;  // of submissions and of what follows
  std::condition_variable wake_;
  int taken_ = 0;  // entries that the kernel has and that have not come back
  bool stopping_ = false;
  std::thread thread_;
};

#else

/// Stands in where io_uring is not compiled in: `make` always returns null. Any number of threads
/// may call it.
class Uring {
 public:
  using Done = std::function<void(int)>;
  /// The same members, which do nothing.
  static std::unique_ptr<Uring> make() { return nullptr; }
  bool bring_in(int, std::size_t, void*, std::size_t, int, const Done&) { return false; }
  bool write_back(int, std::size_t, std::size_t, const Done&) { return false; }
};

#endif

}  // namespace qlora::inline QLORA_ABI::inline QLORA_ABI_RING
