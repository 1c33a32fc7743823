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
#include <deque>
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

  void require_inside(Index at, Index count, Index thread) const {
    const auto all = static_cast<Index>(touches.size());
    if (at < 0 || at + count > all)
      kernel_fault("thread ", thread, " asks for shared element ", at < 0 ? at : at + count - 1,
                   " of ", all);
  }
  void read(Index at, Index thread, Index epoch) {
    Touch& touch = touches[static_cast<std::size_t>(at)];
    if (!touch.written)
      kernel_fault("thread ", thread, " reads shared element ", at, ", which nobody has written");
    if (touch.write_epoch == epoch && touch.writer != thread)
      kernel_fault("thread ", thread, " reads shared element ", at, ", which thread ", touch.writer,
                   " wrote with no barrier between");
    if (touch.read_epoch == epoch) {
      touch.several |= touch.reader != thread;
    } else {
      touch.several = false;
    }
    touch.reader = thread;
    touch.read_epoch = epoch;
  }
  void write(Index at, Index thread, Index epoch) {
    Touch& touch = touches[static_cast<std::size_t>(at)];
    const bool other_writer = touch.write_epoch == epoch && touch.writer != thread;
    const bool other_reader =
        touch.read_epoch == epoch && (touch.several || touch.reader != thread);
    if (other_writer || other_reader)
      kernel_fault("thread ", thread, " writes shared element ", at, ", which thread ",
                   other_writer ? touch.writer : touch.reader, other_writer ? " wrote" : " read",
                   " with no barrier between");
    touch.written = true;
    touch.writer = thread;
    touch.write_epoch = epoch;
  }
};

// Bytes on their way into shared memory.
struct Copy {
  SharedArray* array = nullptr;
  Index at = 0, count = 0;
  std::byte bytes[16] = {};
};

enum class Wait : std::uint8_t { none, barrier, shuffle };

struct Fiber {
  boost::context::fiber own, scheduler;
  Wait wait = Wait::none;
  bool done = false;
  std::exception_ptr failure;
  std::byte posted[32] = {};
  std::vector<Copy> begun;               // copies of the group that is not committed
  std::deque<std::vector<Copy>> groups;  // committed, on their way
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
    Element(detail::SharedArray& array, Index at, Index thread, Index epoch)
        : array_(array), at_(at), thread_(thread), epoch_(epoch) {}
    operator T() const {
      array_.read(at_, thread_, epoch_);
      T value;
      std::memcpy(&value, array_.bytes.data() + at_ * Index{sizeof(T)}, sizeof(T));
      return value;
    }
    Element& operator=(const T& value) {
      array_.write(at_, thread_, epoch_);
      std::memcpy(array_.bytes.data() + at_ * Index{sizeof(T)}, &value, sizeof(T));
      return *this;
    }
    Element& operator=(const Element& other) { return *this = static_cast<T>(other); }

   private:
    detail::SharedArray& array_;
    Index at_, thread_, epoch_;
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

    template <int N, class S>
    auto load_shared(const S& shared, int at) {
      using T = typename S::Number;
      require_place<N, T>(shared.array(), at);
      for (int i = 0; i < N; ++i) shared.array().read(at + i, thread_, block_.epoch);
      qlora::cuda::Pack<T, N> value;
      std::memcpy(&value, shared.array().bytes.data() + at * Index{sizeof(T)}, sizeof(value));
      return value;
    }
    template <int N, class S, class P>
    void store_shared(const S& shared, int at, const P& value) {
      using T = typename S::Number;
      require_place<N, T>(shared.array(), at);
      for (int i = 0; i < N; ++i) shared.array().write(at + i, thread_, block_.epoch);
      std::memcpy(shared.array().bytes.data() + at * Index{sizeof(T)}, &value, sizeof(value));
    }
    // The bytes are taken at once and come when they are waited for; nobody may read the place
    // from now on.
    template <int N, class S, class T>
    void copy_async(const S& shared, int at, const T* from, bool there) {
      static_assert(sizeof(T) * N == 4 || sizeof(T) * N == 8 || sizeof(T) * N == 16);
      require_place<N, T>(shared.array(), at);
      detail::Copy copy{&shared.array(), at, N, {}};
      if (there) {
        executor_.check(from, sizeof(T) * N, sizeof(T) * N, false, thread_);
        std::memcpy(copy.bytes, from, sizeof(T) * N);
      }
      for (int i = 0; i < N; ++i) {
        shared.array().write(at + i, thread_, block_.epoch);
        shared.array().touches[static_cast<std::size_t>(at + i)].written = false;
      }
      fiber().begun.push_back(copy);
    }
    void commit_copies() {
      fiber().groups.push_back(std::move(fiber().begun));
      fiber().begun.clear();
    }
    template <int Left>
    void wait_copies() {
      auto& groups = fiber().groups;
      for (; groups.size() > static_cast<std::size_t>(Left); groups.pop_front())
        for (const detail::Copy& copy : groups.front()) {
          const Index size =
              static_cast<Index>(copy.array->bytes.size() / copy.array->touches.size());
          for (Index i = 0; i < copy.count; ++i)
            copy.array->write(copy.at + i, thread_, block_.epoch);
          std::memcpy(copy.array->bytes.data() + copy.at * size, copy.bytes,
                      static_cast<std::size_t>(copy.count * size));
        }
    }

    // The fragments of PTX's mma.m16n8k16: lane 4 g + t has a's rows g and g + 8 at columns 2 t,
    // 2 t + 1 and those + 8, b's column g at the same rows, and the sum's rows g and g + 8 at
    // columns 2 t and 2 t + 1. The sum is taken in double and rounded once.
    template <class T>
    void multiply(float (&sum)[4], const qlora::cuda::Fragment<4>& a,
                  const qlora::cuda::Fragment<2>& b) {
      struct Both {
        qlora::cuda::Fragment<4> a;
        qlora::cuda::Fragment<2> b;
      };
      float left[2][16], right[2][16];
      post(Both{a, b});
      const int group = this->lane() / 4, member = this->lane() % 4;
      for (int t = 0; t < 4; ++t) {
        const auto rows = posted<Both>(4 * group + t);
        for (int word = 0; word < 4; ++word)
          for (int i = 0; i < 2; ++i)
            left[word % 2][2 * t + i + 8 * (word / 2)] =
                qlora::cuda::detail::half_of<T>(rows.a.at[word], i);
        for (int col = 0; col < 2; ++col) {
          const auto cols = posted<Both>(4 * (2 * member + col) + t);
          for (int word = 0; word < 2; ++word)
            for (int i = 0; i < 2; ++i)
              right[col][2 * t + i + 8 * word] =
                  qlora::cuda::detail::half_of<T>(cols.b.at[word], i);
        }
      }
      executor_.wait(fiber(), detail::Wait::shuffle);
      for (int i = 0; i < 4; ++i) {
        double total = static_cast<double>(sum[i]);
        for (int k = 0; k < 16; ++k)
          total += static_cast<double>(left[i / 2][k]) * static_cast<double>(right[i % 2][k]);
        sum[i] = static_cast<float>(total);
      }
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
      using Number = T;
      Shared(Context& thread, detail::SharedArray& array) : thread_(thread), array_(array) {}
      Element<T> operator[](Index at) const {
        array_.require_inside(at, 1, thread_.thread_);
        return {array_, at, thread_.thread_, thread_.block_.epoch};
      }
      detail::SharedArray& array() const { return array_; }

     private:
      Context& thread_;
      detail::SharedArray& array_;
    };

    detail::Fiber& fiber() { return block_.fibers[static_cast<std::size_t>(thread_)]; }

    template <int N, class T>
    void require_place(const detail::SharedArray& array, int at) const {
      array.require_inside(at, N, thread_);
      if (at % N != 0)
        kernel_fault("thread ", thread_, " moves ", N, " shared elements from ", at,
                     ", which is no multiple");
    }

    // What lanes tell each other: post, read what others posted, wait until all have.
    template <class T>
    void post(const T& value) {
      static_assert(sizeof(T) <= sizeof(detail::Fiber::posted));
      std::memcpy(fiber().posted, &value, sizeof(T));
      executor_.wait(fiber(), detail::Wait::shuffle);
    }
    template <class T>
    T posted(int lane) const {
      const auto other = static_cast<std::size_t>(thread_ - this->lane() + lane);
      T value;
      std::memcpy(&value, block_.fibers[other].posted, sizeof(T));
      return value;
    }

    template <class T>
    T shuffle_from(T value, int lane) {
      if (lane < 0 || lane >= qlora::cuda::warp_size)
        kernel_fault("thread ", thread_, " asks lane ", lane, " of a warp");
      post(value);
      const T got = posted<T>(lane);
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
