// Memory that ends at a page that may not be touched.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>

namespace test {

// `count` numbers whose last byte is the last before a protected page: a read or a write beyond
// them is a signal.
template <class T>
class Guarded {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit Guarded(std::size_t count) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = (count * sizeof(T) + page - 1) / page * page;
    size_ = bytes + page;
    begin_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (begin_ == MAP_FAILED) throw std::bad_alloc();
    mprotect(static_cast<char*>(begin_) + bytes, page, PROT_NONE);
    data_ = reinterpret_cast<T*>(static_cast<char*>(begin_) + bytes - count * sizeof(T));
  }
  // A copy of some numbers.
  Guarded(const T* from, std::size_t count) : Guarded(count) {
    if (count > 0) std::memcpy(data_, from, count * sizeof(T));
  }
  ~Guarded() { munmap(begin_, size_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() const { return data_; }

 private:
  void* begin_ = nullptr;
  std::size_t size_ = 0;
  T* data_ = nullptr;
};

}  // namespace test
