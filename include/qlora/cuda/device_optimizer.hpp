/// An optimizer whose state lies on the device, or in managed memory that is moved there a tile
/// ahead of the step and back behind it: the paper's paged optimizer.
///
///     qlora::cuda::DeviceOptimizer<qlora::AdamWRule, ByteState, Runtime> optimizer(
///         device, {.learning_rate = 2e-4}, {.paged = true});
///     optimizer.step(parameters);      // qlora::cuda::DeviceParameter: value, gradient, count
///
/// For tile i the order is: moves of tile i are awaited; the step of tile i is launched; tile i + 1
/// comes; tile i - 1 goes once its step is done. Nothing waits on the host.
#pragma once

#include <algorithm>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/cuda/optimizer.hpp"
#include "qlora/cuda/runtime.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// A parameter on the device.
struct DeviceParameter {
  float* value = nullptr;
  const float* gradient = nullptr;
  Index count = 0;
};

/// Where an optimizer's state lies: in device memory, or with `paged` in managed memory that moves
/// there tile by tile.
struct StateMemory {
  bool paged = false;
  Index tile = Index{1} << 20;  ///< elements; rounded up to blocks of 256
};

/// Updates parameters that lie on the device. `Rule`: an update rule of optim/ that does not average
/// its iterates. One thread at a time may use it.
template <class Rule, class State, DeviceRuntime R>
class DeviceOptimizer {
  static_assert(UpdateRule<Rule>, "DeviceOptimizer: the first argument must be an update rule");
  static_assert(!AveragingRule<Rule>,
                "DeviceOptimizer: this rule averages its iterates, which the device does not do; "
                "use qlora::Optimizer");

 public:
  using Options = typename Rule::Options;

  explicit DeviceOptimizer(Device<R> device, const Options& options = {},
                           const StateMemory& memory = {})
      : device_(std::move(device)), options_(options), memory_(memory) {
    require<OptionError>(memory.tile > 0, "optimizer: expected tiles of 1 element or more, found ",
                         memory.tile);
    memory_.tile = (memory.tile + state_block - 1) / state_block * state_block;
  }
  DeviceOptimizer(const DeviceOptimizer&) = delete;
  DeviceOptimizer& operator=(const DeviceOptimizer&) = delete;
  ~DeviceOptimizer() {
    if (state_) device_.runtime().release(state_);
  }

  /// For the steps that follow.
  void set_learning_rate(double rate) { options_.learning_rate = rate; }
  /// Steps that were taken.
  Index steps() const { return steps_; }
  /// Whether a step failed half-way: some parameters have taken it and some have not.
  bool torn() const { return torn_; }
  /// Bytes of its state.
  Index state_bytes() const { return bytes_; }

  /// One update. The parameters' sizes must be those of the first step. Throws DeviceError; what
  /// fails before the first launch changes nothing, what fails later tears the optimizer, which
  /// then refuses more.
  void step(const std::vector<DeviceParameter>& parameters, float gradient_scale = 1) {
    require<Error>(!torn_,
                   "optimizer: an earlier step failed half-way; some parameters have taken it and "
                   "some have not");
    begin(parameters);
    Rule next = rule_;
    const auto step = next.template step<float>(options_, steps_ + 1);
    const auto count = static_cast<Index>(tiles_.size());
    if (count > 0) move(0, device_.runtime().device());
    for (Index i = 0; i < count; ++i) {
      order(&R::work_waits_for_moves);
      order(&R::moves_wait_for_work);
      const Tile& tile = tiles_[static_cast<std::size_t>(i)];
      const DeviceParameter& p = parameters[tile.parameter];
      device_.launch(OptimizerStep<Rule, State>{step, p.value + tile.begin, p.gradient + tile.begin,
                                                tile.count, state_of(tile), gradient_scale});
      torn_ = true;
      if (i + 1 < count) move(i + 1, device_.runtime().device());
      if (i > 0) move(i - 1, -1);
    }
    if (count > 0) {
      order(&R::moves_wait_for_work);
      move(count - 1, -1);
    }
    torn_ = false;
    rule_ = next;
    ++steps_;
  }

 private:
  struct Tile {
    std::size_t parameter;
    Index begin, count, offset, bytes;
  };

  static Index padded(Index bytes) { return (bytes + 15) / 16 * 16; }
  static Index bytes_of_state(Index count) {
    if constexpr (!State::in_codes) return padded(count * Index{sizeof(float)});
    return padded(count) + padded(blocks_for(count, state_block) * Index{sizeof(float)});
  }

  void begin(const std::vector<DeviceParameter>& parameters) {
    std::vector<Index> sizes;
    for (const auto& p : parameters) sizes.push_back(p.count);
    if (state_) {
      require<ShapeError>(sizes == sizes_, "optimizer: expected the parameters of the first step");
      return;
    }
    std::vector<Tile> tiles;
    Index bytes = 0;
    for (std::size_t p = 0; p < sizes.size(); ++p)
      for (Index at = 0; at < sizes[p]; at += memory_.tile) {
        const Index count = std::min(memory_.tile, sizes[p] - at);
        const Index size = Rule::states * bytes_of_state(count);
        tiles.push_back({p, at, count, bytes, size});
        bytes += size;
      }
    R& runtime = device_.runtime();
    void* place = nullptr;
    const auto size = static_cast<std::size_t>(std::max<Index>(1, bytes));
    device_.check(
        memory_.paged ? runtime.allocate_managed(&place, size) : runtime.allocate(&place, size),
        "allocation of ", size, " bytes of state");
    try {
      if (memory_.paged) device_.check(runtime.prefer(place, size, -1), "advice");
      device_.check(runtime.clear(place, size), "clearing");
      if (memory_.paged) order(&R::moves_wait_for_work);
    } catch (...) {
      runtime.release(place);
      throw;
    }
    state_ = static_cast<std::byte*>(place);
    bytes_ = bytes;
    tiles_ = std::move(tiles);
    sizes_ = std::move(sizes);
  }

  State state_of(const Tile& tile) const {
    State state;
    for (int k = 0; k < Rule::states; ++k) {
      std::byte* at = state_ + tile.offset + k * bytes_of_state(tile.count);
      if constexpr (State::in_codes) {
        state.at[k] = reinterpret_cast<std::uint8_t*>(at);
        state.scale[k] = reinterpret_cast<float*>(at + padded(tile.count));
      } else {
        state.at[k] = reinterpret_cast<float*>(at);
      }
    }
    return state;
  }

  void move(Index i, int to) {
    if (!memory_.paged) return;
    const Tile& tile = tiles_[static_cast<std::size_t>(i)];
    device_.check(
        device_.runtime().prefetch(state_ + tile.offset, static_cast<std::size_t>(tile.bytes), to),
        "move of state to the ", to < 0 ? "host" : "device");
  }
  void order(int (R::*call)()) {
    if (memory_.paged) device_.check((device_.runtime().*call)(), "order of moves and work");
  }

  Device<R> device_;
  Options options_;
  Rule rule_;
  StateMemory memory_;
  std::byte* state_ = nullptr;
  Index bytes_ = 0, steps_ = 0;
  std::vector<Tile> tiles_;
  std::vector<Index> sizes_;
  bool torn_ = false;
};

}  // namespace qlora::inline QLORA_ABI::cuda
