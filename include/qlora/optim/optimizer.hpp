/// What every optimizer does around its rule: state for each parameter, kept as numbers or 8-bit
/// codes in plain or in paged memory, one pass over parameters, gradients and state together.
///
///     qlora::AdamW<qlora::Blockwise8bit, qlora::Paged<qlora::FilePager>> optimizer(
///         {.learning_rate = 2e-4}, qlora::FilePager({.directory = "/scratch"}));
///     optimizer.step(model.parameters());
///
/// Results do not depend on the memory, the budget or the number of threads.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <istream>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "qlora/core/numeric.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/memory/paged_allocator.hpp"
#include "qlora/nn/parameter.hpp"
#include "qlora/optim/rule.hpp"
#include "qlora/optim/state.hpp"
#include "qlora/optim/state_layout.hpp"

namespace qlora {

/// State in memory that a pager hands out.
template <Pager P>
struct Paged {
  using PagerType = P;
  template <class T>
  using allocator = PagedAllocator<T, P>;
};
using InHeap = Paged<HeapPager>;

/// Parameters with options of their own.
template <class Options, Scalar T = float>
struct ParameterGroup {
  ParameterList<T> parameters;
  Options options;
};

template <class Rule, class State = StateOf<float>, class Memory = InHeap>
class Optimizer {
  static_assert(UpdateRule<Rule>, "Optimizer: the first argument must be an update rule");
  static_assert(std::is_trivially_copyable_v<Rule>, "Optimizer: a rule must be trivially copyable");
  using PagerType = typename Memory::PagerType;
  using Bytes = std::vector<std::byte, typename Memory::template allocator<std::byte>>;
  // Parameters that are too small for codes keep floats.
  using Small = StateOf<float>;

 public:
  using Options = typename Rule::Options;

  explicit Optimizer(const Options& options = {}) requires std::default_initializable<PagerType>
      : Optimizer(options, PagerType()) {}
  Optimizer(const Options& options, PagerType pager)
      : options_(options),
        pager_(std::move(pager)),
        state_(typename Memory::template allocator<std::byte>(pager_)) {}

  Options& options() { return options_; }
  const Options& options() const { return options_; }
  const PagerType& pager() const { return pager_; }
  /// Updates done.
  Index steps() const { return steps_; }
  /// Calls of `step` that did nothing because a gradient was not finite.
  Index skipped() const { return skipped_; }
  /// Whether a step failed half-way: some parameters have moved and others have not.
  bool torn() const { return torn_; }
  Index state_bytes() const { return static_cast<Index>(state_.size()); }

  /// One update from the parameters' gradients; false, and nothing changed, if one of those is not
  /// finite. The list must be the same in every call; throws ShapeError otherwise, and Error when
  /// the memory fails: before the first change everything is as it was, after it the optimizer is
  /// torn and refuses further steps.
  template <Scalar T>
  bool step(const ParameterList<T>& parameters) {
    return step(std::vector<ParameterGroup<Options, T>>{{parameters, options_}});
  }

  /// The same for groups of parameters, each with its own options.
  template <Scalar T>
  bool step(const std::vector<ParameterGroup<Options, T>>& groups) {
    ParameterList<T> parameters;
    std::vector<std::size_t> group_of;
    for (std::size_t g = 0; g < groups.size(); ++g)
      for (auto* parameter : groups[g].parameters) {
        parameters.push_back(parameter);
        group_of.push_back(g);
      }
    prepare(parameters);
    if (!gradients_are_finite(parameters)) {
      ++skipped_;
      return false;
    }
    Rule next = rule_;
    using Step = decltype(next.template step<T>(options_, Index{1}));
    std::vector<Step> steps;
    steps.reserve(groups.size());
    for (const auto& group : groups)
      steps.push_back(next.template step<T>(group.options, steps_ + 1));
    std::atomic<bool> changed = false;
    try {
      walk(Access::write, [&](const StateTile& tile) {
        changed = true;
        Parameter<T>& p = *parameters[static_cast<std::size_t>(tile.parameter)];
        const Step& rule = steps[group_of[static_cast<std::size_t>(tile.parameter)]];
        with_kept(tile, [&]<class Kept>() { update<Kept>(rule, p, tile); });
      });
    } catch (...) {
      torn_ = changed;
      throw;
    }
    rule_ = next;
    ++steps_;
    return true;
  }

  /// Calls `body(parameter, begin, p, s)` for runs of a parameter's elements and copies of their
  /// states, s[0] to s[states - 1].
  template <Scalar T, class Body>
  void visit(const ParameterList<T>& parameters, Body&& body) {
    prepare(parameters);
    walk(Access::read, [&](const StateTile& tile) {
      Buffers<T> buffers;
      load(tile, buffers);
      Parameter<T>& p = *parameters[static_cast<std::size_t>(tile.parameter)];
      body(tile.parameter, tile.begin, Run<T>(p.value.data() + tile.begin, tile.count),
           runs(buffers, tile.count).data());
    });
  }

  /// Writes steps and state, the same bytes for plain and paged memory. Throws IoError.
  void save(std::ostream& out) const {
    const auto put = [&](const auto& value) {
      out.write(reinterpret_cast<const char*>(&value), sizeof(value));
    };
    out << "qlora optimizer 1 " << Rule::name << " " << State::name() << " " << steps_ << " "
        << sizes_.size() << "\n";
    if constexpr (!std::is_empty_v<Rule>) put(rule_);
    for (const Index size : sizes_) put(size);
    const auto write = [&](const std::byte* bytes, Index count) {
      out.write(reinterpret_cast<const char*>(bytes), static_cast<std::streamsize>(count));
    };
    walk(
        Access::read, [&](const StateTile& tile) { for_parts(tile, write); }, false);
    require<IoError>(out.good(), "optimizer: could not write the state");
  }

  /// Reads what `save` wrote, for the same parameters, rule and kind of state. Throws FormatError
  /// or IoError; then the optimizer is as it was.
  void load(std::istream& in) {
    std::string word, kind, name, state;
    Index version = 0, steps = 0;
    std::size_t parameters = 0;
    in >> word >> kind >> version >> name >> state >> steps >> parameters;
    require<FormatError>(in.good() && word == "qlora" && kind == "optimizer" && version == 1,
                         "optimizer state: expected 'qlora optimizer 1', found '", word, " ", kind,
                         " ", version, "'");
    require<FormatError>(name == Rule::name && state == State::name(),
                         "optimizer state: expected that of ", Rule::name, " in ", State::name(),
                         ", found ", name, " in ", state);
    in.get();
    Rule rule = rule_;
    const auto get = [&](auto& value) {
      in.read(reinterpret_cast<char*>(&value), sizeof(value));
      require<IoError>(in.good(), "optimizer state: ends too early");
    };
    if constexpr (!std::is_empty_v<Rule>) get(rule);
    require<FormatError>(sizes_.empty() || parameters == sizes_.size(),
                         "optimizer state: expected ", sizes_.size(), " parameters, found ",
                         parameters);
    std::vector<Index> sizes;
    for (std::size_t i = 0; i < parameters; ++i) {
      Index size = 0;
      get(size);
      require<FormatError>(size >= 0 && (sizes_.empty() || size == sizes_[i]),
                           "optimizer state: parameter ", i, ": expected ",
                           sizes_.empty() ? 0 : sizes_[i], " numbers, found ", size);
      sizes.push_back(size);
    }
    Optimizer fresh(options_, pager_);
    fresh.lay_out(sizes);
    const auto read = [&](std::byte* bytes, Index count) {
      in.read(reinterpret_cast<char*>(bytes), static_cast<std::streamsize>(count));
      require<IoError>(in.good(), "optimizer state: ends too early");
    };
    fresh.walk(
        Access::write, [&](const StateTile& tile) { fresh.for_parts(tile, read); }, false);
    state_.swap(fresh.state_);
    sizes_ = std::move(fresh.sizes_);
    layout_ = std::move(fresh.layout_);
    rule_ = rule;
    steps_ = steps;
    torn_ = false;
  }

 private:
  template <class T>
  using Buffers = std::array<std::vector<T>, Rule::states>;

  template <Scalar T>
  void prepare(const ParameterList<T>& parameters) {
    require<Error>(!torn_,
                   "optimizer: torn by a step that failed half-way; restore parameters and "
                   "state, or start anew");
    std::vector<Index> sizes;
    for (const auto* p : parameters) sizes.push_back(p->value.size());
    if (layout_.tiles.empty() && sizes_.empty()) lay_out(sizes);
    require<ShapeError>(sizes.size() == sizes_.size(), "optimizer: expected the ", sizes_.size(),
                        " parameters of the first step, found ", sizes.size());
    for (std::size_t i = 0; i < sizes.size(); ++i)
      require<ShapeError>(sizes[i] == sizes_[i], "optimizer: ", parameters[i]->name, ": expected ",
                          sizes_[i], " numbers as in the first step, found ", sizes[i]);
  }

  void lay_out(const std::vector<Index>& sizes) {
    layout_ = StateLayout::make<State, Small>(sizes, Rule::states,
                                              static_cast<Index>(pager_.extent_bytes()));
    state_.resize(static_cast<std::size_t>(layout_.bytes));
    sizes_ = sizes;
  }

  template <Scalar T>
  static bool gradients_are_finite(const ParameterList<T>& parameters) {
    std::atomic<bool> finite = true;
    for (const auto* p : parameters)
      parallel_ranges(p->grad.size(), 1 << 16, [&](Index begin, Index end) {
        if (!all_finite(p->grad.data() + begin, end - begin)) finite = false;
      });
    return finite;
  }

  /// Calls `body(tile)` for all tiles, in windows of extents that are pinned together; the next
  /// window comes in meanwhile.
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

  const StateTile& tile(Index i) const { return layout_.tiles[static_cast<std::size_t>(i)]; }
  /// The first tile after `first` that begins in another window.
  Index end_of_window(Index first, Index window) const {
    Index last = first;
    while (last < count() && tile(last).offset / window == tile(first).offset / window) ++last;
    return last;
  }
  std::pair<const std::byte*, std::size_t> bytes_of(Index first, Index last) const {
    const Index begin = tile(first).offset,
                end = tile(last - 1).offset + Rule::states * tile(last - 1).state_bytes;
    return {state_.data() + begin, static_cast<std::size_t>(end - begin)};
  }
  Index count() const { return static_cast<Index>(layout_.tiles.size()); }

  std::byte* place(const StateTile& tile, int s) const {
    return const_cast<std::byte*>(state_.data()) + tile.offset + s * tile.state_bytes;
  }

  /// Calls `body.operator()<Kept>()` with how a tile's numbers are kept.
  template <class Body>
  static void with_kept(const StateTile& tile, Body&& body) {
    if constexpr (!std::is_same_v<Small, State>)
      if (tile.small) return body.template operator()<Small>();
    body.template operator()<State>();
  }

  template <class T>
  void load(const StateTile& tile, Buffers<T>& buffers) const {
    with_kept(tile, [&]<class Kept>() {
      for (int s = 0; s < Rule::states; ++s) {
        auto& numbers = buffers[static_cast<std::size_t>(s)];
        numbers.resize(static_cast<std::size_t>(tile.count));
        Kept::load(place(tile, s), tile.count, 0, tile.count, Rule::is_signed[s], numbers.data());
      }
    });
  }
  /// Calls `body(bytes, size)` for the states of a tile, block by block, so that the order does not
  /// depend on the tiles.
  template <class Body>
  void for_parts(const StateTile& tile, Body&& body) const {
    with_kept(tile, [&]<class Kept>() {
      for (Index begin = 0; begin < tile.count; begin += Kept::block)
        for (int s = 0; s < Rule::states; ++s)
          Kept::parts(place(tile, s), tile.count, begin, std::min(Kept::block, tile.count - begin),
                      body);
    });
  }
  template <class T>
  static std::vector<Run<T>> runs(Buffers<T>& buffers, Index count) {
    std::vector<Run<T>> all;
    for (auto& buffer : buffers) all.emplace_back(buffer.data(), count);
    return all;
  }

  /// A tile's update, some hundred elements at a time: they stay in the first-level cache.
  template <class Kept, class Step, Scalar T>
  void update(const Step& rule, Parameter<T>& parameter, const StateTile& tile) {
    constexpr Index run = std::max<Index>(1, 1024 / Kept::block) * Kept::block;
    alignas(64) T gradient[run];
    alignas(64) T numbers[Rule::states][run];
    for (Index from = 0; from < tile.count; from += run) {
      const Index n = std::min(run, tile.count - from);
      const Index at = tile.begin + from;
      std::copy_n(parameter.grad.data() + at, n, gradient);
      for (int s = 0; s < Rule::states; ++s)
        Kept::load(place(tile, s), tile.count, from, n, Rule::is_signed[s], numbers[s]);
      const auto call = [&]<std::size_t... s>(std::index_sequence<s...>) {
        Run<T> states[] = {Run<T>(numbers[s], n)...};
        rule(Run<T>(parameter.value.data() + at, n), Run<T>(gradient, n), states);
      };
      call(std::make_index_sequence<static_cast<std::size_t>(Rule::states)>());
      for (int s = 0; s < Rule::states; ++s)
        Kept::store(numbers[s], tile.count, from, n, Rule::is_signed[s], place(tile, s));
    }
  }

  Options options_;
  Rule rule_;
  mutable PagerType pager_;  // a handle: to read state is to bring it in
  Bytes state_;
  StateLayout layout_;
  std::vector<Index> sizes_;
  Index steps_ = 0, skipped_ = 0;
  bool torn_ = false;
};

}  // namespace qlora
