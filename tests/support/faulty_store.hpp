// A store of paged memory that keeps what is not resident in a second copy, and fails on request.
#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <string>

#include "qlora/memory/resident_set.hpp"

namespace test {

// Counts down to a failure; -1: never.
struct Faults {
  std::atomic<int> left = -1;
  std::atomic<bool> full = false;  // no memory is reserved
  void pass(const char* what) {
    if (left < 0) return;
    if (left == 0) throw qlora::IoError(std::string("paged memory: could not ") + what);
    --left;
  }
};

// Reads as a disk does: a write-back may run beside a caller who pinned its extent anew and writes,
// and what it stores is then written back again. Volatile, so that it does not become a memcpy,
// which the thread sanitizer would watch all the same.
__attribute__((no_sanitize("thread"))) inline void copy_as_a_disk(std::byte* to,
                                                                  const std::byte* from,
                                                                  std::size_t bytes) {
  const volatile std::byte* source = from;
  for (std::size_t i = 0; i < bytes; ++i) to[i] = source[i];
}

class FaultyStore {
 public:
  struct Region {
    std::unique_ptr<std::byte[]> memory, kept;
    std::byte* data() const { return memory.get(); }
  };

  explicit FaultyStore(std::shared_ptr<Faults> faults) : faults_(std::move(faults)) {}

  Region reserve(std::size_t bytes) {
    if (faults_->full) throw qlora::IoError("paged memory: could not reserve");
    Region region{std::make_unique<std::byte[]>(bytes + 64), std::make_unique<std::byte[]>(bytes)};
    return region;
  }
  void bring_in(const Region& region, std::size_t offset, std::size_t bytes, qlora::Access) {
    faults_->pass("read");
    std::memcpy(region.memory.get() + offset, region.kept.get() + offset, bytes);
  }
  void write_back(const Region& region, std::size_t offset, std::size_t bytes) {
    faults_->pass("write back");
    copy_as_a_disk(region.kept.get() + offset, region.memory.get() + offset, bytes);
  }
  // What was not written back is lost, and can be seen to be.
  void drop(const Region& region, std::size_t offset, std::size_t bytes) {
    std::memset(region.memory.get() + offset, 0xab, bytes);
  }
  void flush(const Region&) {}

 private:
  std::shared_ptr<Faults> faults_;
};

class FaultyPager {
 public:
  explicit FaultyPager(const qlora::ResidentOptions& options)
      : faults_(std::make_shared<Faults>()),
        set_(qlora::ResidentSet<FaultyStore>::make(FaultyStore(faults_), options)) {}

  void fail_after(int calls) { faults_->left = calls; }
  void fill_up(bool full) { faults_->full = full; }

  void* allocate(std::size_t bytes) { return set_->allocate(bytes); }
  void deallocate(void* at, std::size_t) noexcept { set_->deallocate(at); }
  auto pin(const void* at, std::size_t bytes, qlora::Access access = qlora::Access::write) {
    return set_->pin(at, bytes, access);
  }
  void prefetch(const void* at, std::size_t bytes, qlora::Access access = qlora::Access::write) {
    set_->prefetch(at, bytes, access);
  }
  void trim() { set_->trim(); }
  std::size_t extent_bytes() const { return set_->options().extent_bytes; }
  std::size_t budget() const { return set_->options().budget; }
  std::size_t resident_bytes() const { return set_->resident_bytes(); }
  qlora::PagerCounters counters() const { return set_->counters(); }
  friend bool operator==(const FaultyPager& a, const FaultyPager& b) { return a.set_ == b.set_; }

 private:
  std::shared_ptr<Faults> faults_;
  std::shared_ptr<qlora::ResidentSet<FaultyStore>> set_;
};

}  // namespace test
