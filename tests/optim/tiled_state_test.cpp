#include "qlora/optim/tiled_state.hpp"

#include <mutex>
#include <vector>

#include "qlora/optim/adam_rule.hpp"
#include "qlora/optim/schedule_free_rule.hpp"
#include "support/catch.hpp"
#include "support/faulty_store.hpp"
#include "support/numbers.hpp"

using qlora::Index, qlora::NumberState, qlora::StateTile;

namespace {

template <class Rule, class State>
using InHeap = qlora::TiledState<Rule, State, qlora::InHeap>;

}  // namespace

TEST_CASE("a walk meets every element once, in one thread in order") {
  using Paged =
      qlora::TiledState<qlora::AdamWRule, NumberState<float>, qlora::Paged<test::FaultyPager>>;
  Paged state(test::FaultyPager({.budget = 4 * 65536, .extent_bytes = 65536}));
  const std::vector<Index> sizes{100000, 1, 0, 5000};
  state.lay_out(sizes);
  REQUIRE(state.sizes() == sizes);
  REQUIRE(state.bytes() >= 105001 * 2 * 4);
  for (const bool in_parallel : {false, true}) {
    std::vector<Index> met(sizes.size());
    std::vector<Index> offsets;
    std::mutex mutex;
    state.walk(
        qlora::Access::read,
        [&](const StateTile& tile) {
          const std::lock_guard lock(mutex);
          met[static_cast<std::size_t>(tile.parameter)] += tile.count;
          offsets.push_back(tile.offset);
        },
        in_parallel);
    REQUIRE(met == sizes);
    if (!in_parallel) REQUIRE(std::is_sorted(offsets.begin(), offsets.end()));
  }
}

TEST_CASE("fresh state is zeros, and an update leaves its states behind") {
  InHeap<qlora::AdamWRule, NumberState<float>> state{qlora::HeapPager()};
  state.lay_out({3000});
  std::vector<float> values(3000, 1.f);
  const std::vector<float> gradient(3000, 0.5f);
  const auto step = qlora::AdamWRule().step<float>({.learning_rate = 0.25}, 1);
  decltype(state)::Buffers<float> buffers;
  state.walk(
      qlora::Access::write,
      [&](const StateTile& tile) {
        state.load(tile, buffers);
        for (const auto& each : buffers)
          for (const float s : each) REQUIRE(s == 0);
        state.update(step, values.data(), gradient.data(), tile, 0);
        state.load(tile, buffers);
        REQUIRE(buffers[0].size() == static_cast<std::size_t>(tile.count));
        for (const float m : buffers[0]) REQUIRE(m == step.r1 * 0.5f);
        for (const float v : buffers[1]) REQUIRE(v == step.r2 * 0.25f);
      },
      false);
  // The first step of Adam moves by the learning rate.
  for (const float value : values) REQUIRE(std::abs(value - 0.75f) < 1e-4f);
}

TEST_CASE("parts are the bytes of a state, and writing them elsewhere copies it") {
  using State = InHeap<qlora::ScheduleFreeAdamWRule, qlora::Blockwise8bit>;
  State from{qlora::HeapPager()}, to{qlora::HeapPager()};
  for (State* each : {&from, &to}) each->lay_out({5000, 10});
  const auto x = test::normal_matrix(1, 5000, 3);
  std::vector<float> values(5000);
  const auto step = qlora::ScheduleFreeAdamWRule().step<float>({}, 1);
  from.walk(qlora::Access::write,
            [&](const StateTile& tile) { from.update(step, values.data(), x.data(), tile, 0); });
  std::vector<std::byte> saved;
  const State& constant = from;
  constant.walk(
      qlora::Access::read,
      [&](const StateTile& tile) {
        constant.for_parts(tile, [&](const std::byte* bytes, Index count) {
          saved.insert(saved.end(), bytes, bytes + count);
        });
      },
      false);
  // z in float, v in codes with a float a block; the small parameter in floats.
  REQUIRE(saved.size() == 5000 * 4 + 5000 + 20 * 4 + 10 * 8);
  std::size_t at = 0;
  to.walk(
      qlora::Access::write,
      [&](const StateTile& tile) {
        to.for_parts(tile, [&](std::byte* bytes, Index count) {
          std::copy_n(saved.begin() + static_cast<std::ptrdiff_t>(at), count, bytes);
          at += static_cast<std::size_t>(count);
        });
      },
      false);
  REQUIRE(at == saved.size());
  State::Buffers<float> a, b;
  from.walk(
      qlora::Access::read,
      [&](const StateTile& tile) {
        from.load(tile, a);
        to.load(tile, b);
        REQUIRE(a == b);
      },
      false);
}
