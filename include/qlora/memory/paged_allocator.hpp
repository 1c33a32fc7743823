/// A standard allocator over a Pager.
///
///     using Allocator = qlora::PagedAllocator<float, qlora::FilePager>;
///     std::vector<float, Allocator> state(n, Allocator(pager));
///     Eigen::Map<Eigen::VectorXf> map(state.data(), n);
///
/// Memory comes zeroed and objects are not constructed: construction would touch every page. So T
/// must be a type for which zero bytes are a value. PagerResource is the same for std::pmr.
#pragma once

#include <limits>
#include <memory_resource>
#include <type_traits>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/memory/pager.hpp"

namespace qlora::inline QLORA_ABI {

/// Any number of threads may allocate at a time, as from its pager.
template <class T, Pager P>
class PagedAllocator {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>,
                "PagedAllocator: the type must be trivially copyable, because its objects start as "
                "zero bytes");

 public:
  using value_type = T;
  using propagate_on_container_copy_assignment = std::true_type;
  using propagate_on_container_move_assignment = std::true_type;
  using propagate_on_container_swap = std::true_type;
  using is_always_equal = std::false_type;
  template <class U>
  struct rebind {
    using other = PagedAllocator<U, P>;
  };

  explicit PagedAllocator(P pager) : pager_(std::move(pager)) {}
  PagedAllocator() requires std::default_initializable<P> : pager_() {}
  template <class U>
  PagedAllocator(const PagedAllocator<U, P>& other) : pager_(other.pager()) {}

  /// Throws Error where the pager does, std::bad_array_new_length where bytes can't be counted.
  T* allocate(std::size_t count) {
    if (count > std::numeric_limits<std::size_t>::max() / sizeof(T))
      throw std::bad_array_new_length();
    return static_cast<T*>(pager_.allocate(count * sizeof(T)));
  }
  /// Gives memory of `allocate` back.
  void deallocate(T* at, std::size_t count) noexcept { pager_.deallocate(at, count * sizeof(T)); }

  /// Fresh memory is zero already.
  template <class U>
  void construct(U*) noexcept {}
  template <class U, class... Arguments>
  void construct(U* at, Arguments&&... arguments) {
    ::new (static_cast<void*>(at)) U(std::forward<Arguments>(arguments)...);
  }

  /// The pager, which copies share.
  const P& pager() const { return pager_; }
  P& pager() { return pager_; }

  template <class U>
  friend bool operator==(const PagedAllocator& a, const PagedAllocator<U, P>& b) {
    return a.pager() == b.pager();
  }

 private:
  P pager_;
};

/// A pager for std::pmr containers. Any number of threads may allocate at a time.
template <Pager P>
class PagerResource : public std::pmr::memory_resource {
 public:
  explicit PagerResource(P pager) : pager_(std::move(pager)) {}
  /// The pager.
  const P& pager() const { return pager_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    require<OptionError>(alignment <= 64,
                         "PagerResource: expected an alignment of at most 64, found ", alignment);
    return pager_.allocate(bytes);
  }
  void do_deallocate(void* at, std::size_t bytes, std::size_t) override {
    pager_.deallocate(at, bytes);
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    const auto* same = dynamic_cast<const PagerResource*>(&other);
    return same && same->pager_ == pager_;
  }

  P pager_;
};

}  // namespace qlora::inline QLORA_ABI
