/// The state of an optimizer's parameters, in one run of bytes that a pager hands out. The run is
/// cut into tiles. A walk goes over them in windows of some extents, loads tiles as numbers and
/// stores them again.
///
///     qlora::TiledState<qlora::AdamWRule, qlora::NumberState<float>, qlora::InHeap> state{
///         qlora::HeapPager()};
///     state.lay_out({4096, 700});                     // elements of each parameter
///     state.walk(qlora::Access::read, [&](const qlora::StateTile& tile) { ... });
///
/// Where a tile lies does not depend on the number of threads.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/core/random.hpp"
#include "qlora/memory/paged_allocator.hpp"
#include "qlora/optim/rule.hpp"
#include "qlora/optim/state_layout.hpp"
#include "qlora/optim/state_storage.hpp"

namespace qlora::inline QLORA_ABI {

/// Numbers in memory that something else owns, as an Eigen array.
template <class T>
using Run = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;

/// Says that a pager of type P holds an optimizer's state.
template <Pager P>
struct Paged {
  using PagerType = P;
  template <class T>
  using allocator = PagedAllocator<T, P>;
};
/// Says that plain memory holds an optimizer's state.
using InHeap = Paged<HeapPager>;

/// The state of all parameters of one optimizer. `Rule` says how many states an element has and
/// which may be negative. `State` says how they are kept, and `Memory` is a Paged. One thread may
/// call it at a time; `walk` uses all threads by itself. Members that read or write state throw
/// what the pager throws.
template <class Rule, class State, class Memory>
class TiledState {
  using PagerType = typename Memory::PagerType;
  using Bytes = std::vector<std::byte, typename Memory::template allocator<std::byte>>;
  // How the state of parameters is kept that are too small for State.
  using Small = NumberState<float>;
  // How a state is kept that the rule wants in full precision.
  using Exact =
      std::conditional_t<std::is_same_v<State, NumberState<double>>, State, NumberState<float>>;
  template <class Kept, int s>
  using KeptState = std::conditional_t<optim_detail::is_exact<Rule>(s), Exact, Kept>;

 public:
  /// The states of a tile as numbers, one vector per state.
  template <class T>
  using Buffers = std::array<std::vector<T>, Rule::states>;

  explicit TiledState(PagerType pager)
      : pager_(std::move(pager)), bytes_(typename Memory::template allocator<std::byte>(pager_)) {}

  /// The pager that holds the state.
  const PagerType& pager() const { return pager_; }
  /// Bytes of state; 0 before lay_out.
  Index bytes() const { return static_cast<Index>(bytes_.size()); }
  /// The number of elements of each parameter; empty before lay_out.
  const std::vector<Index>& sizes() const { return sizes_; }

  /// Takes memory for parameters of these sizes, filled with zeros. Call it once. Throws
  /// OptionError for a pager whose extents can't hold a block, and what the pager throws.
  void lay_out(const std::vector<Index>& sizes) {
    StateLayout layout = StateLayout::make(sizes, static_cast<Index>(pager_.extent_bytes()),
                                           {State::block, bytes_of_states<State>},
                                           {Small::block, bytes_of_states<Small>}, State::smallest);
    bytes_.resize(static_cast<std::size_t>(layout.bytes));
    layout_ = std::move(layout);
    sizes_ = sizes;
  }

  /// Exchanges what this and another state of the same pager hold.
  void swap(TiledState& other) {
    bytes_.swap(other.bytes_);
    std::swap(layout_, other.layout_);
    std::swap(sizes_, other.sizes_);
  }

  /// Throws Error where the memory can't be used in this process, as a FilePager's after fork.
  void require_usable() const {
    if (!bytes_.empty()) [[maybe_unused]]
      const auto nothing = pager_.pin(bytes_.data(), 0, Access::read);
  }

  /// Calls `body(tile)` for all tiles. It pins one window of extents at a time and prefetches the
  /// next one meanwhile. In parallel, several threads call `body`, in no fixed order.
  template <class Body>
  void walk(Access access, Body&& body, bool in_parallel = true) const {
    const auto extent = static_cast<Index>(pager_.extent_bytes());
    const auto extents = static_cast<Index>(pager_.budget() / pager_.extent_bytes());
    const Index window = std::clamp<Index>(extents / 4, 1, 64) * extent;
    for (Index first = 0; first < count();) {
      const Index last = end_of_window(first, window);
      const auto [at, size] = bytes_of(first, last);
      [[maybe_unused]] const auto pinned = pager_.pin(at, size, access);
      if (last < count() && extents > 1) {
        const auto [next, next_size] = bytes_of(last, end_of_window(last, window));
        pager_.prefetch(next, next_size, access);
      }
      if (in_parallel) {
        parallel_for(last - first, [&](Index i) { body(tile(first + i)); });
      } else {
        for (Index i = first; i < last; ++i) body(tile(i));
      }
      first = last;
    }
  }

  /// Decodes the states of a tile into the buffers, which are resized to its number of elements.
  template <class T>
  void load(const StateTile& tile, Buffers<T>& buffers) const {
    with_kept(tile, [&]<class Kept>() {
      const auto at = offsets<Kept>(tile.count);
      for_states([&]<int s>() {
        buffers[s].resize(static_cast<std::size_t>(tile.count));
        KeptState<Kept, s>::load(place(tile) + at[s], tile.count, 0, tile.count, Rule::is_signed[s],
                                 buffers[s].data());
      });
    });
  }

  /// Calls `body(bytes, size)` for the states of a tile, block by block. So the order of the bytes
  /// does not depend on how parameters are cut into tiles.
  template <class Body>
  void for_parts(const StateTile& tile, Body&& body) const {
    for_parts_at(place(tile), tile, body);
  }
  /// The same with bytes that may be written.
  template <class Body>
  void for_parts(const StateTile& tile, Body&& body) {
    for_parts_at(place(tile), tile, body);
  }

  /// Updates the elements of a tile by a rule's step, some hundred at a time, so that they stay in
  /// the first-level cache. `values` and `gradient` are those of the whole parameter. The draws of
  /// stochastic rounding depend on step_key (which comes from seed and step), the parameter, the
  /// state and the element, and on nothing else.
  template <class Step, class T>
  void update(const Step& step, T* values, const T* gradient, const StateTile& tile,
              std::uint64_t step_key) {
    with_kept(tile, [&]<class Kept>() {
      constexpr Index run = std::max<Index>(1, 1024 / Kept::block) * Kept::block;
      const auto places = offsets<Kept>(tile.count);
      for (Index from = 0; from < tile.count; from += run)
        update_run<Kept, run>(step, values, gradient, tile, from, places, step_key);
    });
  }

 private:
  const StateTile& tile(Index i) const { return layout_.tiles[static_cast<std::size_t>(i)]; }
  Index count() const { return static_cast<Index>(layout_.tiles.size()); }
  /// The first tile after `first` that begins in another window.
  Index end_of_window(Index first, Index window) const {
    Index last = first;
    while (last < count() && tile(last).offset / window == tile(first).offset / window) ++last;
    return last;
  }
  std::pair<const std::byte*, std::size_t> bytes_of(Index first, Index last) const {
    const Index begin = tile(first).offset, end = tile(last - 1).offset + tile(last - 1).bytes;
    return {bytes_.data() + begin, static_cast<std::size_t>(end - begin)};
  }
  const std::byte* place(const StateTile& tile) const { return bytes_.data() + tile.offset; }
  std::byte* place(const StateTile& tile) { return bytes_.data() + tile.offset; }

  /// Calls `body.operator()<s>()` for every state s.
  template <class Body>
  static void for_states(Body&& body) {
    [&]<int... s>(std::integer_sequence<int, s...>) { (body.template operator()<s>(), ...); }
    (std::make_integer_sequence<int, Rule::states>());
  }
  /// Calls `body.operator()<Kept>()` with how a tile's numbers are kept.
  template <class Body>
  static void with_kept(const StateTile& tile, Body&& body) {
    if constexpr (!std::is_same_v<Small, State>)
      if (tile.small) return body.template operator()<Small>();
    body.template operator()<State>();
  }

  using Places = std::array<Index, Rule::states + 1>;

  /// Where each state of `count` elements begins, and the bytes of all.
  template <class Kept>
  static Places offsets(Index count) {
    Places at{};
    for_states([&]<int s>() {
      at[s + 1] = at[s] + StateLayout::aligned(KeptState<Kept, s>::bytes(count));
    });
    return at;
  }
  template <class Kept>
  static Index bytes_of_states(Index count) {
    return offsets<Kept>(count).back();
  }

  template <class Byte, class Body>
  static void for_parts_at(Byte* place, const StateTile& tile, Body&& body) {
    with_kept(tile, [&]<class Kept>() {
      const auto at = offsets<Kept>(tile.count);
      for (Index begin = 0; begin < tile.count; begin += Kept::block)
        for_states([&]<int s>() {
          KeptState<Kept, s>::parts(place + at[s], tile.count, begin,
                                    std::min(Kept::block, tile.count - begin), body);
        });
    });
  }

  template <class Kept, Index run, class Step, class T>
  void update_run(const Step& step, T* values, const T* gradient, const StateTile& tile, Index from,
                  const Places& places, std::uint64_t step_key) {
    alignas(64) T changed[run];
    alignas(64) T numbers[Rule::states][run];
    const Index n = std::min(run, tile.count - from), at = tile.begin + from;
    std::copy_n(gradient + at, n, changed);
    for_states([&]<int s>() {
      KeptState<Kept, s>::load(place(tile) + places[s], tile.count, from, n, Rule::is_signed[s],
                               numbers[s]);
    });
    [&]<std::size_t... s>(std::index_sequence<s...>) {
      Run<T> p(values + at, n), g(changed, n);
      Run<T> states[] = {Run<T>(numbers[s], n)...};
      step(p, g, states);
    }
    (std::make_index_sequence<static_cast<std::size_t>(Rule::states)>());
    for_states([&]<int s>() {
      const auto stream = static_cast<std::uint64_t>(tile.parameter * Rule::states + s);
      KeptState<Kept, s>::store(numbers[s], tile.count, from, n, Rule::is_signed[s],
                                {derive_key(step_key, stream), at}, place(tile) + places[s]);
    });
  }

  mutable PagerType pager_;  // a handle: to read state is to bring it in
  Bytes bytes_;
  StateLayout layout_;
  std::vector<Index> sizes_;
};

}  // namespace qlora::inline QLORA_ABI
