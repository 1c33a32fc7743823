/// What every optimizer does around its update rule. It keeps state for each parameter, as numbers
/// or as 8-bit codes, in plain or in paged memory. A step is one pass over parameters, gradients
/// and state together.
///
///     qlora::AdamW<qlora::Blockwise8bit, qlora::Paged<qlora::FilePager>> optimizer(
///         {.learning_rate = 2e-4}, qlora::FilePager({.directory = "/scratch"}));
///     optimizer.step(model.parameters());
///
/// Results do not depend on the memory, the budget or the number of threads.
///
/// Groups of parameters have options of their own. A rule that remembers something, such as the sum
/// of the weights of its average, remembers it for each group:
///
///     using Group = qlora::ParameterGroup<qlora::AdamWOptions>;
///     std::vector<Group> groups(2);
///     groups[0] = {model.parameters(), {.learning_rate = 2e-4}};
///     optimizer.step(groups);
#pragma once

#include <algorithm>
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

#include "qlora/core/config.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/core/parameter.hpp"
#include "qlora/core/random.hpp"
#include "qlora/optim/rule.hpp"
#include "qlora/optim/state_storage.hpp"
#include "qlora/optim/state_stream.hpp"
#include "qlora/optim/tiled_state.hpp"

namespace qlora::inline QLORA_ABI {

/// Parameters with options of their own. A plain value, which several threads may read together.
template <class Options, Scalar T = float>
struct ParameterGroup {
  ParameterList<T> parameters;
  Options options;
};

/// Updates parameters by an update rule. `State` says how the states of the rule are kept
/// (optim/state_storage.hpp), and `Memory` says which pager holds them. One thread may call an
/// optimizer at a time; it uses all threads by itself.
template <class Rule, class State = NumberState<float>, class Memory = InHeap>
class Optimizer {
  static_assert(UpdateRule<Rule>, "Optimizer: the first argument must be an update rule");
  static_assert(std::is_trivially_copyable_v<Rule>, "Optimizer: a rule must be trivially copyable");
  using PagerType = typename Memory::PagerType;
  using Tiles = TiledState<Rule, State, Memory>;

 public:
  using Options = typename Rule::Options;

  /// Takes no memory before the first step.
  explicit Optimizer(const Options& options = {}) requires std::default_initializable<PagerType>
      : Optimizer(options, PagerType()) {}
  Optimizer(const Options& options, PagerType pager)
      : options_(options), state_(std::move(pager)) {}

  /// The options of steps without groups. They may change between steps.
  Options& options() { return options_; }
  const Options& options() const { return options_; }
  /// The pager that holds the state.
  const PagerType& pager() const { return state_.pager(); }
  /// The number of updates so far.
  Index steps() const { return steps_; }
  /// The number of calls of `step` that did nothing because a gradient was not finite.
  Index skipped() const { return skipped_; }
  /// Whether a call failed half-way, so that some parameters have changed and others have not.
  bool torn() const { return torn_; }
  /// Bytes of state; 0 until the first step or `load`.
  Index state_bytes() const { return state_.bytes(); }
  /// Sets the seed of the stochastic rounding of state (NumberState<bfloat16>). It is 0 at first.
  void set_seed(std::uint64_t seed) { seed_ = seed; }

  /// Makes one update from the parameters' gradients. Returns false and changes no parameter if a
  /// gradient is not finite. Every call must give the same list.
  ///
  /// Throws ShapeError for parameters of other sizes than in the first step, for one that is in the
  /// list twice, and for a gradient of another size than its parameter. Throws Error where the
  /// optimizer is torn and where the parameters hold their average. What the pager or the rule
  /// throws goes on to the caller. A step that throws before its first change leaves parameters and
  /// state as they were. After the first change the optimizer is torn: it refuses further steps.
  template <Scalar T>
  bool step(const ParameterList<T>& parameters) {
    return step(std::vector<ParameterGroup<Options, T>>{{parameters, options_}});
  }

  /// The same for groups of parameters, each with its own options. Groups with equal options give
  /// the same bits as one group of all their parameters. A rule that remembers something needs
  /// groups of the same sizes in every step; ShapeError is thrown otherwise.
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
      const ParameterRef<T>& p = parameters[parameter];
      state_.update(steps[static_cast<std::size_t>(group_of[parameter])], p.value().data(),
                    p.grad().data(), tile, key);
    });
    rules_ = std::move(next);
    group_sizes_ = std::move(group_sizes);
    ++steps_;
    return true;
  }

  /// Whether the rule averages its iterates: then the parameters to evaluate and to save are not
  /// those that training goes on from.
  static constexpr bool averages = AveragingRule<Rule>;
  /// Whether the parameters hold their average now.
  bool averaged() const { return averaged_; }

  /// Replaces the parameters by the average of the iterates, which is what to evaluate and to save.
  /// Does nothing where the rule has no average, before the first step, and where the parameters
  /// hold their average already. Throws as `step` does, but gradients do not matter.
  template <Scalar T>
  void use_average(const ParameterList<T>& parameters) {
    move_parameters(parameters, true);
  }
  /// Replaces the average by the parameters that training goes on from, up to rounding. Throws as
  /// use_average does.
  template <Scalar T>
  void use_iterate(const ParameterList<T>& parameters) {
    move_parameters(parameters, false);
  }
  /// The values that use_average would give the parameters, which stay as they are. Throws as
  /// use_average does.
  template <Scalar T>
  std::vector<RowMatrix<T>> average(const ParameterList<T>& parameters) {
    require_whole();
    std::vector<RowMatrix<T>> values;
    for (const auto& p : parameters) values.push_back(p.value());
    if constexpr (averages)
      if (!averaged_ && steps_ > 0) {
        prepare(parameters);
        const std::vector<T> shares = shares_to(true, parameters);
        state_.walk(Access::read, [&](const StateTile& tile) {
          move_tile(tile, values[static_cast<std::size_t>(tile.parameter)].data(), shares);
        });
      }
    return values;
  }

  /// Calls `body(parameter, begin, p, s)` for all elements, run by run and from several threads at
  /// a time. p holds the elements from `begin` on of the parameter with that index in the list.
  /// s[0] to s[states - 1] are copies of their states. Throws as `step` does.
  template <Scalar T, class Body>
  void visit(const ParameterList<T>& parameters, Body&& body) {
    prepare(parameters);
    state_.walk(Access::read, [&](const StateTile& tile) {
      typename Tiles::template Buffers<T> buffers;
      state_.load(tile, buffers);
      const ParameterRef<T>& p = parameters[static_cast<std::size_t>(tile.parameter)];
      body(tile.parameter, tile.begin, Run<T>(p.value().data() + tile.begin, tile.count),
           runs<T>(buffers, tile.count).data());
    });
  }

  /// Writes the number of steps and the state: the same bytes for plain and for paged memory.
  /// Throws IoError where the stream fails, Error where the optimizer is torn, and what the pager
  /// throws.
  void save(std::ostream& out) const {
    require_whole();
    optim_detail::write_state_header(out, header());
    for (const Rule& rule : rules_)
      if constexpr (!std::is_empty_v<Rule>)
        out.write(reinterpret_cast<const char*>(&rule), sizeof(rule));
    const auto write = [&](const std::byte* bytes, Index count) {
      out.write(reinterpret_cast<const char*>(bytes), static_cast<std::streamsize>(count));
    };
    state_.walk(
        Access::read, [&](const StateTile& tile) { state_.for_parts(tile, write); }, false);
    out.flush();
    require<IoError>(out.good(), "optimizer: could not write the state");
  }

  /// Reads what `save` wrote, for the same parameters, rule and kind of state. Throws FormatError
  /// for state of other ones, IoError where the stream ends too early, and what the pager throws.
  /// Then the optimizer is as it was. Before the first step the optimizer takes the parameters'
  /// sizes from the stream. Such a stream must know its length, as a file does, or FormatError is
  /// thrown.
  void load(std::istream& in) { load_sizes(in, state_.sizes()); }
  /// The same for these parameters, from any stream. Throws ShapeError too, where they have other
  /// sizes than in the first step.
  template <Scalar T>
  void load(std::istream& in, const ParameterList<T>& parameters) {
    const std::vector<Index> sizes = sizes_of(parameters);
    require<ShapeError>(state_.sizes().empty() || sizes == state_.sizes(),
                        "optimizer: expected the parameters of the first step");
    load_sizes(in, sizes);
  }

 private:
  optim_detail::StateHeader header() const {
    return {Rule::name, State::name(), steps_, averaged_, seed_, group_sizes_, state_.sizes()};
  }

  void load_sizes(std::istream& in, const std::vector<Index>& expected) {
    const optim_detail::StateHeader read = optim_detail::read_state_header(in, header(), expected);
    std::vector<Rule> rules(read.group_sizes.size());
    for (Rule& rule : rules)
      if constexpr (!std::is_empty_v<Rule>)
        optim_detail::read_state(in, reinterpret_cast<std::byte*>(&rule), sizeof(rule));
    Tiles fresh(pager());
    fresh.lay_out(read.sizes);
    const auto get = [&](std::byte* bytes, Index count) {
      optim_detail::read_state(in, bytes, static_cast<std::size_t>(count));
    };
    fresh.walk(
        Access::write, [&](const StateTile& tile) { fresh.for_parts(tile, get); }, false);
    state_.swap(fresh);
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
    if (state_.sizes().empty()) state_.lay_out(sizes);
    state_.require_usable();  // before any work begins
    const std::vector<Index>& known = state_.sizes();
    require<ShapeError>(sizes.size() == known.size(), "optimizer: expected the ", known.size(),
                        " parameters of the first step, found ", sizes.size());
    for (std::size_t i = 0; i < sizes.size(); ++i)
      require<ShapeError>(sizes[i] == known[i], "optimizer: ", parameters[i].name(), ": expected ",
                          known[i], " numbers as in the first step, found ", sizes[i]);
  }

  template <Scalar T>
  static void require_distinct(const ParameterList<T>& parameters) {
    std::vector<std::pair<const void*, std::size_t>> places;
    for (const auto& p : parameters) places.emplace_back(p.place(), places.size());
    std::sort(places.begin(), places.end(),
              [](const auto& a, const auto& b) { return std::less<>()(a.first, b.first); });
    const auto twice =
        std::adjacent_find(places.begin(), places.end(),
                           [](const auto& a, const auto& b) { return a.first == b.first; });
    require<ShapeError>(twice == places.end(), "optimizer: parameter '",
                        twice == places.end() ? std::string() : parameters[twice->second].name(),
                        "' is in the list twice");
  }

  template <Scalar T>
  static void require_gradients(const ParameterList<T>& parameters) {
    for (const auto& p : parameters)
      require<ShapeError>(p.grad().size() == p.value().size(), "optimizer: ", p.name(),
                          ": expected a gradient of ", p.value().size(), " numbers, found ",
                          p.grad().size());
  }

  /// Copies of the groups' rules for a step of groups of these sizes. A rule that remembers nothing
  /// allows other groups in every step.
  std::vector<Rule> rules_of(const std::vector<Index>& group_sizes) const {
    if constexpr (!std::is_empty_v<Rule>)
      require<ShapeError>(steps_ == 0 || group_sizes == group_sizes_,
                          "optimizer: expected the groups of the first step: ", group_sizes_.size(),
                          " groups, found ", group_sizes.size(), " or others of other sizes");
    std::vector<Rule> rules = rules_;
    rules.resize(group_sizes.size());
    return rules;
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

  /// `walk` for a body that changes parameters. A failure after the first change leaves the
  /// optimizer torn.
  template <class Body>
  void change(Access access, Body&& body) {
    std::atomic<bool> changed = false;
    try {
      state_.walk(access, [&](const StateTile& tile) {
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
    typename Tiles::template Buffers<T> buffers;
    state_.load(tile, buffers);
    Run<T> p(values + tile.begin, tile.count);
    const Run<T> z(buffers[Rule::iterate].data(), tile.count);
    p += shares[static_cast<std::size_t>(tile.parameter)] * (z - p);
  }

  template <class T>
  static std::vector<Run<T>> runs(typename Tiles::template Buffers<T>& buffers, Index count) {
    std::vector<Run<T>> all;
    for (auto& buffer : buffers) all.emplace_back(buffer.data(), count);
    return all;
  }

  Options options_;
  std::vector<Rule> rules_;         // one per group
  std::vector<Index> group_sizes_;  // parameters of each group
  Tiles state_;
  std::uint64_t seed_ = 0;
  Index steps_ = 0, skipped_ = 0;
  bool torn_ = false, averaged_ = false;
};

}  // namespace qlora::inline QLORA_ABI
