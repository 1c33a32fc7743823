// Runs a kernel's body on the host, every thread of a block a fiber, and checks what hardware does
// not say: access outside of the memory that the kernel was given, misaligned packs, shared memory
// read before it is written, two threads at one shared element with no barrier between, a barrier
// that not all threads reach, a shuffle with missing lanes.
//
//   test::Executor device(64, 2);                 // threads a block, blocks
//   device.give(input), device.give(output);      // spans; const ones may only be read
//   device.run([&](auto& thread) { qlora::cuda::twice(thread, input.data(), output.data(), n); });
#pragma once

#include <boost/context/fiber.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <typeindex>
#include <utility>
#include <vector>

#include "qlora/core/error.hpp"
#include "qlora/cuda/context.hpp"

namespace test {

using qlora::Index;

// A check of the executor that fired.
struct KernelFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Parts>
[[noreturn]] void kernel_fault(const Parts&... parts) {
  throw KernelFault(qlora::message(parts...));
}

namespace detail {

// Who touched a shared element since when.
struct Touch {
  bool written = false;
  Index writer = -1, write_epoch = -1;
  Index reader = -1, read_epoch = -1;  // the only reader of its epoch, or several
  bool several = false;
};

struct SharedArray {
  std::vector<std::byte> bytes;
  std::vector<Touch> touches;
};

enum class Wait : std::uint8_t { none, barrier, shuffle };

struct Fiber {
  boost::context::fiber own, scheduler;
  Wait wait = Wait::none;
  bool done = false;
  std::exception_ptr failure;
  std::byte posted[16] = {};
};

struct Block {
  Index number = 0;
  std::vector<Fiber> fibers;
  std::map<std::pair<std::type_index, int>, SharedArray> shared;
  Index epoch = 0;  // barriers so far
};

struct Allocation {
  std::size_t bytes = 0;
  bool writable = false;
};

}  // namespace detail

class Executor {
 public:
  // One element of shared memory; reads and writes are checked.
  template <class T>
  class Element {
   public:
    Element(detail::SharedArray& array, std::size_t at, Index thread, Index epoch)
        : array_(array), at_(at), thread_(thread), epoch_(epoch) {}
    operator T() const {
      detail::Touch& touch = array_.touches[at_];
      if (!touch.written)
        kernel_fault("thread ", thread_, " reads shared element ", at_,
                     ", which nobody has written");
      if (touch.write_epoch == epoch_ && touch.writer != thread_)
        kernel_fault("thread ", thread_, " reads shared element ", at_, ", which thread ",
                     touch.writer, " wrote with no barrier between");
      if (touch.read_epoch == epoch_) {
        touch.several |= touch.reader != thread_;
      } else {
        touch.several = false;
      }
      touch.reader = thread_;
      touch.read_epoch = epoch_;
      T value;
      std::memcpy(&value, array_.bytes.data() + at_ * sizeof(T), sizeof(T));
      return value;
    }
    Element& operator=(const T& value) {
      detail::Touch& touch = array_.touches[at_];
      const bool other_writer = touch.write_epoch == epoch_ && touch.writer != thread_;
      const bool other_reader =
          touch.read_epoch == epoch_ && (touch.several || touch.reader != thread_);
      if (other_writer || other_reader)
        kernel_fault("thread ", thread_, " writes shared element ", at_, ", which thread ",
                     other_writer ? touch.writer : touch.reader, other_writer ? " wrote" : " read",
                     " with no barrier between");
      touch.written = true;
      touch.writer = thread_;
      touch.write_epoch = epoch_;
      std::memcpy(array_.bytes.data() + at_ * sizeof(T), &value, sizeof(T));
      return *this;
    }
    Element& operator=(const Element& other) { return *this = static_cast<T>(other); }

   private:
    detail::SharedArray& array_;
    std::size_t at_;
    Index thread_, epoch_;
  };

  // Is called `thread` in kernels.
  class Context : public qlora::cuda::ThreadPlace<Context> {
   public:
    Context(Executor& executor, detail::Block& block, int thread)
        : executor_(executor), block_(block), thread_(thread) {}

    int thread() const { return thread_; }
    int threads() const { return executor_.threads_; }
    Index block() const { return block_.number; }
    Index blocks() const { return executor_.blocks_; }
    void barrier() { executor_.wait(fiber(), detail::Wait::barrier); }

    template <class T>
    T shuffle_xor(T value, int mask) {
      return shuffle_from(value, this->lane() ^ mask);
    }
    template <class T>
    T shuffle(T value, int lane) {
      return shuffle_from(value, lane);
    }

    template <class T, int Count, int Tag = 0>
    auto shared() {
      detail::SharedArray& array = block_.shared[{typeid(T[Count]), Tag}];
      array.bytes.resize(sizeof(T) * Count);
      array.touches.resize(Count);
      return Shared<T>(*this, array);
    }

    template <class T>
    T load(const T* from) const {
      executor_.check(from, sizeof(T), alignof(T), false, thread_);
      T value;
      std::memcpy(&value, from, sizeof(T));
      return value;
    }
    template <class T>
    void store(T* to, const T& value) const {
      executor_.check(to, sizeof(T), alignof(T), true, thread_);
      std::memcpy(to, &value, sizeof(T));
    }

   private:
    template <class T>
    class Shared {
     public:
      Shared(Context& thread, detail::SharedArray& array) : thread_(thread), array_(array) {}
      Element<T> operator[](Index at) const {
        const auto count = static_cast<Index>(array_.touches.size());
        if (at < 0 || at >= count)
          kernel_fault("thread ", thread_.thread_, " asks for shared element ", at, " of ", count);
        return {array_, static_cast<std::size_t>(at), thread_.thread_, thread_.block_.epoch};
      }

     private:
      Context& thread_;
      detail::SharedArray& array_;
    };

    detail::Fiber& fiber() { return block_.fibers[static_cast<std::size_t>(thread_)]; }

    template <class T>
    T shuffle_from(T value, int lane) {
      static_assert(sizeof(T) <= 16);
      if (lane < 0 || lane >= qlora::cuda::warp_size)
        kernel_fault("thread ", thread_, " asks lane ", lane, " of a warp");
      std::memcpy(fiber().posted, &value, sizeof(T));
      executor_.wait(fiber(), detail::Wait::shuffle);
      const std::size_t other =
          static_cast<std::size_t>(thread_ - this->lane()) + static_cast<std::size_t>(lane);
      T got;
      std::memcpy(&got, block_.fibers[other].posted, sizeof(T));
      // What was posted stays until every lane has read it.
      executor_.wait(fiber(), detail::Wait::shuffle);
      return got;
    }

    Executor& executor_;
    detail::Block& block_;
    int thread_;
  };

  Executor(int threads, Index blocks) : threads_(threads), blocks_(blocks) {
    if (threads <= 0 || threads > 1024 || threads % qlora::cuda::warp_size != 0 || blocks <= 0)
      kernel_fault("expected 32 to 1024 threads in whole warps and at least one block, found ",
                   threads, " and ", blocks);
  }

  // Memory that the kernel may read and write, or only read.
  template <class T>
  void give(std::span<T> memory) {
    allocations_[reinterpret_cast<const std::byte*>(memory.data())] = {memory.size_bytes(),
                                                                       !std::is_const_v<T>};
  }

  // Calls kernel(Context&) once a thread, block by block. Throws KernelFault, or what the kernel
  // throws.
  template <class Kernel>
  void run(Kernel kernel) {
    for (Index number = 0; number < blocks_; ++number) {
      detail::Block block;
      block.number = number;
      block.fibers.resize(static_cast<std::size_t>(threads_));
      for (int t = 0; t < threads_; ++t) start(block, t, kernel);
      while (advance(block)) {
      }
    }
  }

 private:
  template <class Kernel>
  void start(detail::Block& block, int thread, Kernel& kernel) {
    detail::Fiber& fiber = block.fibers[static_cast<std::size_t>(thread)];
    fiber.own = boost::context::fiber(
        [this, &block, &fiber, &kernel, thread](boost::context::fiber&& scheduler) {
          fiber.scheduler = std::move(scheduler);
          try {
            Context context(*this, block, thread);
            kernel(context);
          } catch (const boost::context::detail::forced_unwind&) {
            throw;
          } catch (...) {
            fiber.failure = std::current_exception();
          }
          fiber.done = true;
          return std::move(fiber.scheduler);
        });
  }

  // Back to the scheduler until the others are there.
  void wait(detail::Fiber& fiber, detail::Wait what) {
    fiber.wait = what;
    fiber.scheduler = std::move(fiber.scheduler).resume();
  }

  // Runs every thread to where it waits, then lets go those who are complete. False at the end.
  bool advance(detail::Block& block) {
    for (detail::Fiber& fiber : block.fibers) {
      if (fiber.done || fiber.wait != detail::Wait::none) continue;
      fiber.own = std::move(fiber.own).resume();
      if (fiber.failure) std::rethrow_exception(fiber.failure);
    }
    std::size_t done = 0, at_barrier = 0;
    bool released = false;
    for (std::size_t first = 0; first < block.fibers.size(); first += qlora::cuda::warp_size) {
      std::size_t shuffling = 0;
      for (std::size_t lane = 0; lane < qlora::cuda::warp_size; ++lane) {
        const detail::Fiber& fiber = block.fibers[first + lane];
        done += fiber.done ? 1 : 0;
        at_barrier += !fiber.done && fiber.wait == detail::Wait::barrier ? 1 : 0;
        shuffling += !fiber.done && fiber.wait == detail::Wait::shuffle ? 1 : 0;
      }
      if (shuffling > 0 && shuffling < qlora::cuda::warp_size)
        kernel_fault("block ", block.number, ", warp ", first / qlora::cuda::warp_size,
                     ": a shuffle that ", shuffling, " of 32 lanes reach");
      if (shuffling == 0) continue;
      for (std::size_t lane = 0; lane < qlora::cuda::warp_size; ++lane)
        block.fibers[first + lane].wait = detail::Wait::none;
      released = true;
    }
    if (released) return true;
    if (at_barrier > 0 && at_barrier < block.fibers.size())
      kernel_fault("block ", block.number, ": a barrier that ", at_barrier, " of ",
                   block.fibers.size(), " threads reach");
    if (at_barrier > 0) {
      ++block.epoch;
      for (detail::Fiber& fiber : block.fibers) fiber.wait = detail::Wait::none;
    }
    return done < block.fibers.size();
  }

  void check(const void* at, std::size_t bytes, std::size_t alignment, bool writes,
             int thread) const {
    const auto* place = static_cast<const std::byte*>(at);
    auto next = allocations_.upper_bound(place);
    const char* what = writes ? " writes " : " reads ";
    if (next == allocations_.begin())
      kernel_fault("thread ", thread, what, bytes, " bytes outside of the kernel's memory");
    const auto& [begin, memory] = *std::prev(next);
    if (place + bytes > begin + memory.bytes)
      kernel_fault("thread ", thread, what, bytes, " bytes ", place - begin, " bytes into ",
                   memory.bytes);
    if (writes && !memory.writable)
      kernel_fault("thread ", thread, " writes memory that it may only read");
    if (reinterpret_cast<std::uintptr_t>(at) % alignment != 0)
      kernel_fault("thread ", thread, what, bytes, " bytes at an address that is no multiple of ",
                   alignment);
  }

  int threads_;
  Index blocks_;
  std::map<const std::byte*, detail::Allocation> allocations_;
};

}  // namespace test
