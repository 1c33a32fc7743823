/// A Pager hands out memory for large state. The memory need not be resident all the time; whoever
/// works on a range pins it first.
///
///     qlora::FilePager pager({.directory = "/scratch", .resident = {.budget = 256 << 20}});
///     float* state = static_cast<float*>(pager.allocate(2 * n * sizeof(float)));
///     pager.prefetch(state + n, n * sizeof(float));  // runs ahead
///     {
///       auto pinned = pager.pin(state, n * sizeof(float));
///       work(state, n);
///     }  // from here on it may be evicted
///     pager.deallocate(state, 2 * n * sizeof(float));
///
/// Memory comes zeroed. A pager is a handle: copies share the memory, and are equal. Any number of
/// threads may call one at a time.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// What a pinned range is used for. A range that is only read need not be written back.
enum class Access { read, write };

/// What a pager has counted since it was made.
struct PagerCounters {
  Index hits = 0;        ///< extents that a pin found resident
  Index faults = 0;      ///< extents that a pin had to bring in itself
  Index prefetched = 0;  ///< extents that came in ahead of their pin
  Index stalls = 0;      ///< pins that waited for a prefetch under way, or for room
  Index evictions = 0;
  Index bytes_in = 0, bytes_out = 0;
  double stalled_seconds =
      0;  ///< time that pins waited, for prefetches and for what they brought in

  /// The share of pins that found their extent resident; 1 before the first pin.
  double hit_rate() const {
    const Index all = hits + faults;
    return all > 0 ? static_cast<double>(hits) / static_cast<double>(all) : 1.0;
  }
};

/// Hands out memory. `pin` and `prefetch` take a range of that memory and what it will be used for.
template <class P>
concept Pager = std::copyable<P> && std::equality_comparable<P> &&
    requires(P& pager, void* at, std::size_t bytes) {
  { pager.allocate(bytes) } -> std::same_as<void*>;
  pager.deallocate(at, bytes);
  pager.pin(at, bytes, Access::write);
  pager.prefetch(at, bytes, Access::write);
  { pager.extent_bytes() } -> std::convertible_to<std::size_t>;
  { pager.budget() } -> std::convertible_to<std::size_t>;
  { pager.counters() } -> std::convertible_to<PagerCounters>;
};

/// Plain memory: always resident, and pins cost nothing. Any number of threads may call it at a
/// time.
class HeapPager {
 public:
  struct Pin {};

  /// What a Pager has to have, each as cheap as it can be. Throws std::bad_alloc.
  void* allocate(std::size_t bytes) {
    return std::memset(::operator new(bytes, alignment), 0, bytes);
  }
  void deallocate(void* at, std::size_t) noexcept { ::operator delete(at, alignment); }
  Pin pin(const void*, std::size_t, Access = Access::write) { return {}; }
  void prefetch(const void*, std::size_t, Access = Access::write) {}
  std::size_t extent_bytes() const { return std::size_t{1} << 20; }
  std::size_t budget() const { return ~std::size_t{0}; }
  PagerCounters counters() const { return {}; }
  friend bool operator==(const HeapPager&, const HeapPager&) { return true; }

 private:
  static constexpr std::align_val_t alignment{64};
};

}  // namespace qlora::inline QLORA_ABI
