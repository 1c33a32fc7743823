/// What every optimizer does around its rule: state for each parameter, kept as numbers or 8-bit
/// codes in plain or in paged memory, one pass over parameters, gradients and state together.
///
///     qlora::AdamW<qlora::Blockwise8bit, qlora::Paged<qlora::FilePager>> optimizer(
///         {.learning_rate = 2e-4}, qlora::FilePager({.directory = "/scratch"}));
///     optimizer.step(model.parameters());
///
/// Results do not depend on the memory, the budget or the number of threads.
///
/// Groups of parameters have options of their own. A rule that remembers something, such as the sum
/// of its rates, does so for each group:
///
///     using Group = qlora::ParameterGroup<qlora::AdamWOptions>;
///     std::vector<Group> groups(2);
///     groups[0] = {model.parameters(), {.learning_rate = 2e-4}};
///     optimizer.step(groups);
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <istream>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "qlora/core/numeric.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/core/parameter.hpp"
#include "qlora/core/random.hpp"
#include "qlora/memory/paged_allocator.hpp"
#include "qlora/optim/rule.hpp"
#include "qlora/optim/state.hpp"
#include "qlora/optim/state_layout.hpp"
#include "qlora/optim/state_stream.hpp"

namespace qlora {

/// State in memory that a pager hands out.
template <Pager P>
struct Paged {
  using PagerType = P;
  template <class T>
  using allocator = PagedAllocator<T, P>;
};
using InHeap = Paged<HeapPager>;

/// A run of numbers as an Eigen array.
template <class T>
using Run = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;

/// Parameters with options of their own.
template <class Options, Scalar T = float>
struct ParameterGroup {
  ParameterList<T> parameters;
  Options options;
};

/// An optimizer uses all threads by itself; one thread may call it at a time.
template <class Rule, class State = StateOf<float>, class Memory = InHeap>
class Optimizer {
  static_assert(UpdateRule<Rule>, "Optimizer: the first argument must be an update rule");
  static_assert(std::is_trivially_copyable_v<Rule>, "Optimizer: a rule must be trivially copyable");
  using PagerType = typename Memory::PagerType;
  using Bytes = std::vector<std::byte, typename Memory::template allocator<std::byte>>;
  // Parameters that are too small for codes keep floats.
  using Small = StateOf<float>;
  // What a rule wants in full precision.
  using Exact = std::conditional_t<std::is_same_v<State, StateOf<double>>, State, StateOf<float>>;
  template <class Kept, int s>
  using KeptState = std::conditional_t<detail::is_exact<Rule>(s), Exact, Kept>;

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
  /// Of the choices of state that is rounded by chance (StateOf<bfloat16>); 0 at first.
  void set_seed(std::uint64_t seed) { seed_ = seed; }

  /// One update from the parameters' gradients; false, and nothing changed, if one of those is not
  /// finite. The list must be the same in every call; throws ShapeError otherwise and where a
  /// gradient has another size than its parameter, and Error when the memory fails or the
  /// parameters hold their average. Before the first change everything is as it was, after it the
  /// optimizer is torn and refuses further steps.
  template <Scalar T>
  bool step(const ParameterList<T>& parameters) {
    return step(std::vector<ParameterGroup<Options, T>>{{parameters, options_}});
  }

  /// The same for groups of parameters, each with its own options. Groups of equal options are one
  /// group, to the bit.
  template <Scalar T>
  bool step(const std::vector<ParameterGroup<Options, T>>& groups) {
    ParameterList<T> parameters;
    std::vector<Index> group_of, group_sizes;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      for (const auto& parameter : groups[g].parameters) {
        parameters.push_back(parameter);
        group_of.push_back(static_cast<Index>(g));
      }
      group_sizes.push_back(static_cast<Index>(groups[g].parameters.size()));
    }
    require<Error>(!averaged_,
                   "optimizer: the parameters hold their average; call use_iterate before a step");
    prepare(parameters);
    require_gradients(parameters);
    std::vector<Rule> next = rules_of(group_sizes);
    if (!gradients_are_finite(parameters)) {
      ++skipped_;
      return false;
    }
    using Step = StepOf<Rule, T>;
    std::vector<Step> steps;
    steps.reserve(groups.size());
    for (std::size_t g = 0; g < groups.size(); ++g)
      steps.push_back(next[g].template step<T>(groups[g].options, steps_ + 1));
    const std::uint64_t key = derive_key(seed_, static_cast<std::uint64_t>(steps_) + 1);
    change(Access::write, [&](const StateTile& tile) {
      const auto parameter = static_cast<std::size_t>(tile.parameter);
      const Step& rule = steps[static_cast<std::size_t>(group_of[parameter])];
      with_kept(tile, [&]<class Kept>() { update<Kept>(rule, parameters[parameter], tile, key); });
    });
    rules_ = std::move(next);
    group_sizes_ = std::move(group_sizes);
    ++steps_;
    return true;
  }

  /// Whether the parameters that are trained are not those to evaluate and to save.
  static constexpr bool averages = AveragingRule<Rule>;
  /// Whether the parameters hold their average now.
  bool averaged() const { return averaged_; }

  /// Makes the parameters what to evaluate and to save: the average of the iterates, where the rule
  /// has one. Does nothing where they are that already. Throws as `step` does.
  template <Scalar T>
  void use_average(const ParameterList<T>& parameters) {
    move_parameters(parameters, true);
  }
  /// Makes them what training goes on from, to within rounding.
  template <Scalar T>
  void use_iterate(const ParameterList<T>& parameters) {
    move_parameters(parameters, false);
  }
  /// What use_average would make of the parameters, which stay as they are.
  template <Scalar T>
  std::vector<RowMatrix<T>> average(const ParameterList<T>& parameters) {
    std::vector<RowMatrix<T>> values;
    for (const auto& p : parameters) values.push_back(p.value());
    if constexpr (averages)
      if (!averaged_ && steps_ > 0) {
        prepare(parameters);
        const std::vector<T> shares = shares_to(true, parameters);
        walk(Access::read, [&](const StateTile& tile) {
          move_tile(tile, values[static_cast<std::size_t>(tile.parameter)].data(), shares);
        });
      }
    return values;
  }

  /// Calls `body(parameter, begin, p, s)` for runs of a parameter's elements and copies of their
  /// states, s[0] to s[states - 1], from several threads at a time.
  template <Scalar T, class Body>
  void visit(const ParameterList<T>& parameters, Body&& body) {
    prepare(parameters);
    walk(Access::read, [&](const StateTile& tile) {
      Buffers<T> buffers;
      load(tile, buffers);
      const ParameterRef<T>& p = parameters[static_cast<std::size_t>(tile.parameter)];
      body(tile.parameter, tile.begin, Run<T>(p.value().data() + tile.begin, tile.count),
           runs(buffers, tile.count).data());
    });
  }

  /// Writes steps and state, the same bytes for plain and paged memory. Throws IoError where the
  /// stream fails, Error where the optimizer is torn.
  void save(std::ostream& out) const {
    require_whole();
    detail::write_state_header(out, header());
    for (const Rule& rule : rules_)
      if constexpr (!std::is_empty_v<Rule>)
        out.write(reinterpret_cast<const char*>(&rule), sizeof(rule));
    const auto write = [&](const std::byte* bytes, Index count) {
      out.write(reinterpret_cast<const char*>(bytes), static_cast<std::streamsize>(count));
    };
    walk(
        Access::read, [&](const StateTile& tile) { for_parts(tile, write); }, false);
    out.flush();
    require<IoError>(out.good(), "optimizer: could not write the state");
  }

  /// Reads what `save` wrote, for the same parameters, rule and kind of state. Throws FormatError
  /// or IoError; then the optimizer is as it was. An optimizer without a step takes the parameters'
  /// sizes from the stream, which must then tell its length, as files do.
  void load(std::istream& in) { load_sizes(in, sizes_); }
  /// The same for these parameters, from any stream.
  template <Scalar T>
  void load(std::istream& in, const ParameterList<T>& parameters) {
    const std::vector<Index> sizes = sizes_of(parameters);
    require<ShapeError>(sizes_.empty() || sizes == sizes_,
                        "optimizer: expected the parameters of the first step");
    load_sizes(in, sizes);
  }

 private:
  template <class T>
  using Buffers = std::array<std::vector<T>, Rule::states>;

  detail::StateHeader header() const {
    return {Rule::name, State::name(), steps_, averaged_, seed_, group_sizes_, sizes_};
  }

  void load_sizes(std::istream& in, const std::vector<Index>& expected) {
    const detail::StateHeader read = detail::read_state_header(in, header(), expected);
    std::vector<Rule> rules(read.group_sizes.size());
    for (Rule& rule : rules)
      if constexpr (!std::is_empty_v<Rule>)
        detail::read_state(in, reinterpret_cast<std::byte*>(&rule), sizeof(rule));
    Optimizer fresh(options_, pager_);
    fresh.lay_out(read.sizes);
    const auto get = [&](std::byte* bytes, Index count) {
      detail::read_state(in, bytes, static_cast<std::size_t>(count));
    };
    fresh.walk(
        Access::write, [&](const StateTile& tile) { fresh.for_parts(tile, get); }, false);
    state_.swap(fresh.state_);
    sizes_ = std::move(fresh.sizes_);
    layout_ = std::move(fresh.layout_);
    rules_ = std::move(rules);
    group_sizes_ = read.group_sizes;
    steps_ = read.steps;
    averaged_ = read.averaged;
    seed_ = read.seed;
    torn_ = false;
  }

  template <Scalar T>
  static std::vector<Index> sizes_of(const ParameterList<T>& parameters) {
    std::vector<Index> sizes;
    for (const auto& p : parameters) sizes.push_back(p.value().size());
    return sizes;
  }

  void require_whole() const {
    require<Error>(!torn_,
                   "optimizer: torn by a step that failed half-way; restore parameters and "
                   "state, or start anew");
  }

  template <Scalar T>
  void prepare(const ParameterList<T>& parameters) {
    require_whole();
    const std::vector<Index> sizes = sizes_of(parameters);
    require_distinct(parameters);
    if (layout_.tiles.empty() && sizes_.empty()) lay_out(sizes);
    // Memory that can't be used here, as after fork, says so before any work begins.
    if (!state_.empty()) [[maybe_unused]]
      const auto nothing = pager_.pin(state_.data(), 0, Access::read);
    require<ShapeError>(sizes.size() == sizes_.size(), "optimizer: expected the ", sizes_.size(),
                        " parameters of the first step, found ", sizes.size());
    for (std::size_t i = 0; i < sizes.size(); ++i)
      require<ShapeError>(sizes[i] == sizes_[i], "optimizer: ", parameters[i].name(), ": expected ",
                          sizes_[i], " numbers as in the first step, found ", sizes[i]);
  }

  template <Scalar T>
  static void require_distinct(const ParameterList<T>& parameters) {
    std::vector<std::pair<const void*, std::string>> places;
    for (const auto& p : parameters) places.emplace_back(p.place(), p.name());
    std::sort(places.begin(), places.end(),
              [](const auto& a, const auto& b) { return std::less<>()(a.first, b.first); });
    const auto twice =
        std::adjacent_find(places.begin(), places.end(),
                           [](const auto& a, const auto& b) { return a.first == b.first; });
    require<ShapeError>(twice == places.end(), "optimizer: parameter '",
                        twice == places.end() ? std::string() : twice->second,
                        "' is in the list twice");
  }

  template <Scalar T>
  static void require_gradients(const ParameterList<T>& parameters) {
    for (const auto& p : parameters)
      require<ShapeError>(p.grad().size() == p.value().size(), "optimizer: ", p.name(),
                          ": expected a gradient of ", p.value().size(), " numbers, found ",
                          p.grad().size());
  }

  /// Copies of the groups' rules for a step of groups of these sizes. What remembers nothing may be
  /// in another group each time.
  std::vector<Rule> rules_of(const std::vector<Index>& group_sizes) const {
    if constexpr (!std::is_empty_v<Rule>)
      require<ShapeError>(steps_ == 0 || group_sizes == group_sizes_,
                          "optimizer: expected the groups of the first step: ", group_sizes_.size(),
                          " groups, found ", group_sizes.size(), " or others of other sizes");
    std::vector<Rule> rules = rules_;
    rules.resize(group_sizes.size());
    return rules;
  }

  void lay_out(const std::vector<Index>& sizes) {
    StateLayout layout = StateLayout::make(sizes, static_cast<Index>(pager_.extent_bytes()),
                                           {State::block, bytes_of_states<State>},
                                           {Small::block, bytes_of_states<Small>}, State::smallest);
    state_.resize(static_cast<std::size_t>(layout.bytes));
    layout_ = std::move(layout);
    sizes_ = sizes;
  }

  template <Scalar T>
  static bool gradients_are_finite(const ParameterList<T>& parameters) {
    std::atomic<bool> finite = true;
    for (const auto& p : parameters)
      parallel_ranges(p.grad().size(), 1 << 16, [&](Index begin, Index end) {
        if (!all_finite(p.grad().data() + begin, end - begin)) finite = false;
      });
    return finite;
  }

  /// `walk` for what changes parameters: what fails after the first change tears the optimizer.
  template <class Body>
  void change(Access access, Body&& body) {
    std::atomic<bool> changed = false;
    try {
      walk(access, [&](const StateTile& tile) {
        changed = true;
        body(tile);
      });
    } catch (...) {
      torn_ = changed;
      throw;
    }
  }

  template <Scalar T>
  void move_parameters(const ParameterList<T>& parameters, bool to_average) {
    if constexpr (averages) {
      require_whole();
      if (averaged_ == to_average || steps_ == 0) return;
      prepare(parameters);
      const std::vector<T> shares = shares_to(to_average, parameters);
      change(Access::read, [&](const StateTile& tile) {
        move_tile(tile, parameters[static_cast<std::size_t>(tile.parameter)].value().data(),
                  shares);
      });
      averaged_ = to_average;
    }
  }

  /// For each parameter, the share of the way to the iterate's state that moves it.
  template <Scalar T>
  std::vector<T> shares_to(bool average, const ParameterList<T>& parameters) const {
    std::vector<T> shares;
    shares.reserve(parameters.size());
    for (std::size_t g = 0; g < rules_.size(); ++g)
      shares.insert(
          shares.end(), static_cast<std::size_t>(group_sizes_[g]),
          static_cast<T>(average ? rules_[g].share_to_average() : rules_[g].share_to_iterate()));
    return shares;
  }
  template <Scalar T>
  void move_tile(const StateTile& tile, T* values, const std::vector<T>& shares) const {
    Buffers<T> buffers;
    load(tile, buffers);
    Run<T> p(values + tile.begin, tile.count);
    const Run<T> z(buffers[Rule::iterate].data(), tile.count);
    p += shares[static_cast<std::size_t>(tile.parameter)] * (z - p);
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
    const Index begin = tile(first).offset, end = tile(last - 1).offset + tile(last - 1).bytes;
    return {state_.data() + begin, static_cast<std::size_t>(end - begin)};
  }
  Index count() const { return static_cast<Index>(layout_.tiles.size()); }

  /// Calls `body.operator()<s>()` for every state s.
  template <class Body>
  static void for_states(Body&& body) {
    [&]<int... s>(std::integer_sequence<int, s...>) { (body.template operator()<s>(), ...); }
    (std::make_integer_sequence<int, Rule::states>());
  }

  /// Bytes of all states of `count` elements, and where each begins.
  template <class Kept>
  static std::array<Index, Rule::states + 1> offsets(Index count) {
    std::array<Index, Rule::states + 1> at{};
    for_states([&]<int s>() {
      at[s + 1] = at[s] + StateLayout::aligned(KeptState<Kept, s>::bytes(count));
    });
    return at;
  }
  template <class Kept>
  static Index bytes_of_states(Index count) {
    return offsets<Kept>(count).back();
  }

  std::byte* place(const StateTile& tile) const {
    return const_cast<std::byte*>(state_.data()) + tile.offset;
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
      const auto at = offsets<Kept>(tile.count);
      for_states([&]<int s>() {
        buffers[s].resize(static_cast<std::size_t>(tile.count));
        KeptState<Kept, s>::load(place(tile) + at[s], tile.count, 0, tile.count, Rule::is_signed[s],
                                 buffers[s].data());
      });
    });
  }
  /// Calls `body(bytes, size)` for the states of a tile, block by block, so that the order does not
  /// depend on the tiles.
  template <class Body>
  void for_parts(const StateTile& tile, Body&& body) const {
    with_kept(tile, [&]<class Kept>() {
      const auto at = offsets<Kept>(tile.count);
      for (Index begin = 0; begin < tile.count; begin += Kept::block)
        for_states([&]<int s>() {
          KeptState<Kept, s>::parts(place(tile) + at[s], tile.count, begin,
                                    std::min(Kept::block, tile.count - begin), body);
        });
    });
  }
  template <class T>
  static std::vector<Run<T>> runs(Buffers<T>& buffers, Index count) {
    std::vector<Run<T>> all;
    for (auto& buffer : buffers) all.emplace_back(buffer.data(), count);
    return all;
  }

  /// A tile's update, some hundred elements at a time: they stay in the first-level cache. What
  /// state draws by chance depends on the seed, the step, the parameter, the state and the element.
  template <class Kept, class Step, Scalar T>
  void update(const Step& rule, const ParameterRef<T>& parameter, const StateTile& tile,
              std::uint64_t step_key) {
    constexpr Index run = std::max<Index>(1, 1024 / Kept::block) * Kept::block;
    alignas(64) T gradient[run];
    alignas(64) T numbers[Rule::states][run];
    const auto places = offsets<Kept>(tile.count);
    const MatrixMap<T> gradients = parameter.grad();
    MatrixMap<T> values = parameter.value();
    for (Index from = 0; from < tile.count; from += run) {
      const Index n = std::min(run, tile.count - from);
      const Index at = tile.begin + from;
      std::copy_n(gradients.data() + at, n, gradient);
      for_states([&]<int s>() {
        KeptState<Kept, s>::load(place(tile) + places[s], tile.count, from, n, Rule::is_signed[s],
                                 numbers[s]);
      });
      const auto call = [&]<std::size_t... s>(std::index_sequence<s...>) {
        Run<T> p(values.data() + at, n), g(gradient, n);
        Run<T> states[] = {Run<T>(numbers[s], n)...};
        rule(p, g, states);
      };
      call(std::make_index_sequence<static_cast<std::size_t>(Rule::states)>());
      for_states([&]<int s>() {
        const auto stream = static_cast<std::uint64_t>(tile.parameter * Rule::states + s);
        KeptState<Kept, s>::store(numbers[s], tile.count, from, n, Rule::is_signed[s],
                                  {derive_key(step_key, stream), at}, place(tile) + places[s]);
      });
    }
  }

  Options options_;
  std::vector<Rule> rules_;         // a group
  std::vector<Index> group_sizes_;  // parameters of each
  mutable PagerType pager_;         // a handle: to read state is to bring it in
  Bytes state_;
  StateLayout layout_;
  std::vector<Index> sizes_;
  std::uint64_t seed_ = 0;
  Index steps_ = 0, skipped_ = 0;
  bool torn_ = false, averaged_ = false;
};

}  // namespace qlora
