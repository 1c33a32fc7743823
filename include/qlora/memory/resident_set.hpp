/// The part of paged memory that is resident: extents of equal size, held below a budget by
/// evicting what was used longest ago, brought in ahead of time beside the caller.
///
/// A Store is what lies below: it reserves addresses, brings an extent in, writes it back and drops
/// it, and throws Error where that fails. FileStore (file_pager.hpp) is one.
///
/// Memory belongs to the process that made the set. A child made by fork has none of it: there
/// every call throws Error, and what is destroyed is left to the parent.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/memory/background.hpp"
#include "qlora/memory/pager.hpp"

namespace qlora::inline QLORA_ABI {

/// Stores extents. `Region` stands for one allocation; data() is its address. write_back may read
/// an extent while the caller, who has pinned it anew, writes to it: what it stores then is written
/// back again.
template <class S>
concept PageStore = requires(S& store, typename S::Region& region, std::size_t bytes) {
  { store.reserve(bytes) } -> std::same_as<typename S::Region>;
  { region.data() } -> std::same_as<std::byte*>;
  store.bring_in(region, bytes, bytes, Access::write);
  store.write_back(region, bytes, bytes);
  store.drop(region, bytes, bytes);
  store.flush(region);
};

/// How much may be resident, and in what pieces.
struct ResidentOptions {
  std::size_t budget = std::size_t{256} << 20;      ///< bytes that may be resident
  std::size_t extent_bytes = std::size_t{2} << 20;  ///< brought in and evicted together
};

/// Any number of threads may call it at a time. Memory must not be pinned when it is deallocated.
template <PageStore Store>
class ResidentSet : public std::enable_shared_from_this<ResidentSet<Store>> {
  enum class State { absent, arriving, resident };
  struct Region;
  struct Extent {
    Region* region = nullptr;
    std::size_t index = 0;
    State state = State::absent;
    bool dirty = false;
    bool cleaning = false;  // the background writes it back, or will
    int pins = 0;
    typename std::list<Extent*>::iterator place;  // in order of use, while resident and unpinned
  };
  struct Region {
    typename Store::Region memory;
    std::size_t bytes = 0;
    std::vector<Extent> extents;
    int jobs = 0;  // of the background
  };

 public:
  /// Keeps a range resident while it lives, and the set with it.
  class Pin {
   public:
    Pin() = default;
    Pin(Pin&& other) noexcept
        : set_(std::move(other.set_)),
          region_(other.region_),
          first_(other.first_),
          last_(other.last_) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(set_, other.set_);
      std::swap(region_, other.region_);
      std::swap(first_, other.first_);
      std::swap(last_, other.last_);
      return *this;
    }
    ~Pin() {
      if (set_ && set_->is_owner()) set_->unpin(*region_, first_, last_);
    }

   private:
    friend ResidentSet;
    Pin(std::shared_ptr<ResidentSet> set, Region* region, std::size_t first, std::size_t last)
        : set_(std::move(set)), region_(region), first_(first), last_(last) {}
    std::shared_ptr<ResidentSet> set_;
    Region* region_ = nullptr;
    std::size_t first_ = 0, last_ = 0;
  };

  /// Throws OptionError for an extent that is no multiple of a page, or a budget below one extent.
  static std::shared_ptr<ResidentSet> make(Store store, const ResidentOptions& options) {
    require<OptionError>(options.extent_bytes > 0 && options.extent_bytes % 4096 == 0,
                         "pager: expected an extent of a multiple of 4096 bytes, found ",
                         options.extent_bytes);
    require<OptionError>(options.budget >= options.extent_bytes,
                         "pager: expected a budget of at least one extent of ",
                         options.extent_bytes, " bytes, found ", options.budget);
    // A child has neither the background's thread nor the memory: it takes nothing apart.
    return std::shared_ptr<ResidentSet>(new ResidentSet(std::move(store), options),
                                        [](ResidentSet* set) {
                                          if (set->is_owner()) delete set;
                                        });
  }
  ~ResidentSet() {
    background_.reset();
    if constexpr (requires { store_.finish(); }) store_.finish();
  }
  ResidentSet(const ResidentSet&) = delete;
  ResidentSet& operator=(const ResidentSet&) = delete;

  /// What the set was made from.
  const ResidentOptions& options() const { return options_; }
  const Store& store() const { return store_; }
  /// Whether this is the process that made it.
  bool is_owner() const { return getpid() == owner_; }
  /// What was counted so far.
  PagerCounters counters() const {
    require_owner();
    const std::scoped_lock lock(mutex_);
    return counters_;
  }
  /// Bytes that are resident or on their way, in whole extents.
  std::size_t resident_bytes() const {
    require_owner();
    const std::scoped_lock lock(mutex_);
    return resident_ * options_.extent_bytes;
  }

  /// Zeroed memory, none of it resident. Throws what the store throws.
  void* allocate(std::size_t bytes) {
    require_owner();
    auto region = std::make_unique<Region>();
    region->memory = store_.reserve(std::max<std::size_t>(1, bytes));
    region->bytes = bytes;
    region->extents.resize(bytes / options_.extent_bytes + (bytes % options_.extent_bytes != 0));
    for (std::size_t i = 0; i < region->extents.size(); ++i) {
      region->extents[i].region = region.get();
      region->extents[i].index = i;
    }
    std::byte* at = region->memory.data();
    const std::scoped_lock lock(mutex_);
    regions_.emplace(at, std::move(region));
    return at;
  }

  /// Gives memory of `allocate` back and waits for what the background does with it.
  void deallocate(void* at) noexcept {
    if (!is_owner()) return;
    std::unique_ptr<Region> gone;
    std::unique_lock lock(mutex_);
    const auto found = regions_.find(static_cast<std::byte*>(at));
    if (found == regions_.end()) return;
    Region& region = *found->second;
    changed_.wait(lock, [&] { return region.jobs == 0; });
    for (Extent& extent : region.extents) {
      if (extent.state != State::resident) continue;
      if (extent.pins == 0) unused_.erase(extent.place);
      --resident_;
    }
    gone = std::move(found->second);
    regions_.erase(found);
  }

  /// Brings a range in and keeps it there. Throws ShapeError for a range that was not allocated,
  /// Error for more pinned bytes than the budget, IoError when the store fails; then nothing is
  /// pinned.
  Pin pin(const void* at, std::size_t bytes, Access access) {
    require_owner();
    std::unique_lock lock(mutex_);
    throw_failure();
    const auto [region, first, last] = extents_of(at, bytes);
    std::size_t i = first;
    try {
      for (; i < last; ++i) pin_one(lock, region->extents[i], access);
    } catch (...) {
      while (i-- > first) release(region->extents[i]);
      throw;
    }
    return Pin(this->shared_from_this(), region, first, last);
  }

  /// Begins to bring a range in, as far as the budget allows without evicting what is pinned or on
  /// its way. What fails here fails again, and is thrown, when it is pinned.
  void prefetch(const void* at, std::size_t bytes, Access access) {
    require_owner();
    std::unique_lock lock(mutex_);
    throw_failure();
    const auto [region, first, last] = extents_of(at, bytes);
    for (std::size_t i = first; i < last; ++i) {
      Extent& extent = region->extents[i];
      if (extent.state != State::absent) {
        if (extent.state == State::resident && extent.pins == 0) touch(extent);
        continue;
      }
      if (!make_room()) return;
      extent.state = State::arriving;
      ++resident_;
      ++extent.region->jobs;
      try {
        begin_to_bring_in(extent, access);
      } catch (...) {  // no thread or no memory for it: the pin brings it in
        depart(extent);
        return;
      }
    }
  }

  /// Waits until all of every region is in the store. Throws IoError when it fails.
  void flush() {
    require_owner();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return jobs() == 0; });
    throw_failure();
    for (const auto& [_, region] : regions_) store_.flush(region->memory);
  }

  /// Writes back and drops everything that is not pinned, also what was touched without a pin.
  /// Throws IoError when the store fails.
  void trim() {
    require_owner();
    std::unique_lock lock(mutex_);
    throw_failure();
    changed_.wait(lock, [&] { return jobs() == 0; });
    throw_failure();
    while (!unused_.empty()) evict(*unused_.front());
    for (auto& [_, region] : regions_)
      for (Extent& extent : region->extents)
        if (extent.state == State::absent) drop(extent);
  }

 private:
  ResidentSet(Store store, const ResidentOptions& options)
      : store_(std::move(store)), options_(options) {}

  void require_owner() const {
    require<Error>(is_owner(),
                   "pager: its memory belongs to the process that made it; after fork make another "
                   "in the child");
  }

  struct Range {
    Region* region;
    std::size_t first, last;
  };

  Range extents_of(const void* at, std::size_t bytes) {
    const auto* begin = static_cast<const std::byte*>(at);
    auto next = regions_.upper_bound(const_cast<std::byte*>(begin));
    require<ShapeError>(next != regions_.begin(), "pager: the range was not allocated here");
    Region& region = *std::prev(next)->second;
    const auto offset = static_cast<std::size_t>(begin - region.memory.data());
    require<ShapeError>(offset <= region.bytes && bytes <= region.bytes - offset,
                        "pager: expected a range within ", region.bytes, " bytes, found ", bytes,
                        " from ", offset, " on");
    if (bytes == 0) return {&region, 0, 0};
    return {&region, offset / options_.extent_bytes,
            (offset + bytes - 1) / options_.extent_bytes + 1};
  }

  std::size_t offset_of(const Extent& extent) const { return extent.index * options_.extent_bytes; }
  std::size_t size_of(const Extent& extent) const {
    return std::min(options_.extent_bytes, extent.region->bytes - offset_of(extent));
  }

  int jobs() const {
    int count = 0;
    for (const auto& [_, region] : regions_) count += region->jobs;
    return count;
  }

  template <class Job>
  void background(Job job) {
    if (!background_) background_ = std::make_unique<BackgroundThread>();
    background_->submit(std::move(job));
  }

  void begin_to_bring_in(Extent& extent, Access access) {
    const auto arrived = [this, &extent](bool came) { arrive(extent, came); };
    if constexpr (requires {
                    store_.begin_bring_in(extent.region->memory, 0u, 0u, access, arrived);
                  })
      if (store_.begin_bring_in(extent.region->memory, offset_of(extent), size_of(extent), access,
                                arrived))
        return;
    background([this, &extent, access, arrived] {
      bool came = true;
      try {
        store_.bring_in(extent.region->memory, offset_of(extent), size_of(extent), access);
      } catch (...) {
        came = false;
      }
      arrived(came);
    });
  }

  /// Each wait gives the lock away, and another thread may bring the extent in or take the room
  /// meanwhile: after each one everything is looked at anew.
  void pin_one(std::unique_lock<std::mutex>& lock, Extent& extent, Access access) {
    const auto start = std::chrono::steady_clock::now();
    bool waited = false;
    const auto wait = [&] {
      if (!std::exchange(waited, true)) ++counters_.stalls;
      changed_.wait(lock);
    };
    while (extent.state != State::resident) {
      if (extent.state == State::arriving) {
        wait();
      } else if (make_room()) {
        store_.bring_in(extent.region->memory, offset_of(extent), size_of(extent), access);
        ++resident_;
        extent.state = State::resident;
        extent.pins = 1;
        ++counters_.faults;
        counters_.bytes_in += static_cast<Index>(size_of(extent));
        counters_.stalled_seconds += seconds_since(start);
        extent.dirty |= access == Access::write;
        return;
      } else {
        // What is on its way, or is being written back, makes room.
        require<Error>(jobs() > 0, "pager: ", (resident_ + 1) * options_.extent_bytes,
                       " bytes would be pinned at once, but the budget is ", options_.budget);
        wait();
      }
    }
    ++counters_.hits;
    if (extent.pins++ == 0) unused_.erase(extent.place);
    if (waited) counters_.stalled_seconds += seconds_since(start);
    extent.dirty |= access == Access::write;
  }

  static double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  void unpin(Region& region, std::size_t first, std::size_t last) noexcept {
    const std::scoped_lock lock(mutex_);
    for (std::size_t i = first; i < last; ++i) release(region.extents[i]);
  }
  void release(Extent& extent) noexcept {
    if (--extent.pins > 0) return;
    extent.place = unused_.insert(unused_.end(), &extent);
    // Behind a walk that does not fit, extents are clean when their place is needed.
    const bool scarce = 2 * resident_ * options_.extent_bytes > options_.budget;
    if (extent.dirty && !extent.cleaning && scarce) {
      try {
        clean(extent);
      } catch (...) {  // no thread or no memory for it: it is written back when it is evicted
      }
    }
    changed_.notify_all();
  }
  void touch(Extent& extent) { unused_.splice(unused_.end(), unused_, extent.place); }

  /// Room for one extent more; false where everything is pinned or the background has it.
  bool make_room() {
    while ((resident_ + 1) * options_.extent_bytes > options_.budget) {
      throw_failure();
      const auto ready = std::find_if(unused_.begin(), unused_.end(),
                                      [](const Extent* extent) { return !extent->cleaning; });
      if (ready == unused_.end()) return false;
      evict(**ready);
    }
    return true;
  }

  void evict(Extent& extent) {
    if (extent.dirty) {
      store_.write_back(extent.region->memory, offset_of(extent), size_of(extent));
      counters_.bytes_out += static_cast<Index>(size_of(extent));
      extent.dirty = false;
    }
    drop(extent);
    unused_.erase(extent.place);
    extent.state = State::absent;
    --resident_;
    ++counters_.evictions;
  }
  void drop(Extent& extent) {
    store_.drop(extent.region->memory, offset_of(extent), size_of(extent));
  }

  /// In the background, after an attempt to bring an extent in.
  void arrive(Extent& extent, bool came) {
    const std::scoped_lock lock(mutex_);
    if (!came) return depart(extent);
    --extent.region->jobs;
    extent.state = State::resident;
    extent.place = unused_.insert(unused_.end(), &extent);
    ++counters_.prefetched;
    counters_.bytes_in += static_cast<Index>(size_of(extent));
    changed_.notify_all();
  }
  /// What was on its way does not come.
  void depart(Extent& extent) {
    --extent.region->jobs;
    extent.state = State::absent;
    --resident_;
    changed_.notify_all();
  }

  /// Writes an unpinned extent back beside the caller.
  void clean(Extent& extent) {
    const auto written = [this, &extent](std::exception_ptr failed) { cleaned(extent, failed); };
    if constexpr (requires { store_.begin_write_back(extent.region->memory, 0u, 0u, written); })
      if (store_.begin_write_back(extent.region->memory, offset_of(extent), size_of(extent),
                                  written))
        return begin_cleaning(extent);
    background([this, &extent, written] {
      std::exception_ptr failed;
      try {
        store_.write_back(extent.region->memory, offset_of(extent), size_of(extent));
      } catch (...) {
        failed = std::current_exception();
      }
      written(failed);
    });
    begin_cleaning(extent);
  }
  void begin_cleaning(Extent& extent) {
    extent.dirty = false;  // a write from here on makes it dirty again
    extent.cleaning = true;
    ++extent.region->jobs;
  }
  void cleaned(Extent& extent, const std::exception_ptr& failed) {
    const std::scoped_lock lock(mutex_);
    if (failed) {
      extent.dirty = true;
      failure_ = failed;
    } else {
      counters_.bytes_out += static_cast<Index>(size_of(extent));
    }
    extent.cleaning = false;
    --extent.region->jobs;
    changed_.notify_all();
  }

  void throw_failure() {
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  Store store_;
  ResidentOptions options_;
  pid_t owner_ = getpid();
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::byte*, std::unique_ptr<Region>> regions_;
  std::list<Extent*> unused_;  // resident and not pinned, the longest unused first
  std::size_t resident_ = 0;   // extents that are resident or on their way
  PagerCounters counters_;
  std::exception_ptr failure_;                    // of the background, for the next call
  std::unique_ptr<BackgroundThread> background_;  // last: its jobs use the others
};

}  // namespace qlora::inline QLORA_ABI
