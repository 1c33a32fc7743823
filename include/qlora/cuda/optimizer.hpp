/// The update rules of optim/ on the device, state in float or in blockwise 8-bit codes as in
/// optim/state_storage.hpp; one pass over parameter, gradient and state.
///
///     qlora::AdamWRule rule;
///     OptimizerStep<qlora::AdamWRule, FloatState> kernel{
///         rule.step<float>(options, t), p, g, count, state};
#pragma once

#include <cstdint>
#include <type_traits>

#include "qlora/codebook/dynamic.hpp"
#include "qlora/core/config.hpp"
#include "qlora/cuda/kernel.hpp"
#include "qlora/cuda/reduce.hpp"
#include "qlora/optim/moment_code.hpp"
#include "qlora/optim/rule.hpp"

namespace qlora::inline QLORA_ABI::cuda {

inline constexpr int state_block = 256;  ///< elements that share a scale of 8-bit state

inline constexpr int most_states = 3;  ///< of an element

/// One float an element and state.
struct FloatState {
  static constexpr bool in_codes = false;
  float* at[most_states] = {};
};

/// A code an element and state, a float a block of 256: Dynamic8 where the rule says that a state
/// may be negative, UnsignedDynamic8 elsewhere.
struct ByteState {
  static constexpr bool in_codes = true;
  std::uint8_t* at[most_states] = {};
  float* scale[most_states] = {};
};

/// One update of `count` parameters by a rule; a block of threads takes 256 elements. Gradients are
/// multiplied by gradient_scale first: 1, or what clipping says.
template <class Rule, class State>
struct OptimizerStep {
  static_assert(UpdateRule<Rule>, "OptimizerStep: the first argument must be an update rule");
  static_assert(Rule::states <= most_states, "OptimizerStep: the rule must have at most 3 states");
  static_assert(
      !State::in_codes || !requires { Rule::is_exact; },
      "OptimizerStep: this rule keeps a state in full precision; use FloatState");
  static constexpr int threads = state_block;
  static constexpr const char* name = Rule::name;
  StepOf<Rule, float> step;
  float* parameter;
  const float* gradient;
  Index count;
  State state;
  float gradient_scale = 1;

  Index blocks() const { return blocks_for(count, threads); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    const Index i = thread.first();
    const bool there = i < count;
    float s[Rule::states] = {};
    if (there) {
      load_states<0>(thread, i, s);
      float p = thread.load(parameter + i), g = gradient_scale * thread.load(gradient + i);
      step(p, g, s);
      thread.store(parameter + i, p);
    }
    store_states<0>(thread, i, there, s);
  }

 private:
  template <int K>
  using Map = std::conditional_t<Rule::is_signed[K], Dynamic8, UnsignedDynamic8>;

  template <int K, class Context>
  QLORA_DEVICE void load_states(Context& thread, Index i, float (&s)[Rule::states]) const {
    if constexpr (State::in_codes) {
      s[K] = rounded_product(decode<Map<K>>(thread.load(state.at[K] + i)),
                             thread.load(state.scale[K] + i / state_block));
    } else {
      s[K] = thread.load(state.at[K] + i);
    }
    if constexpr (K + 1 < Rule::states) load_states<K + 1>(thread, i, s);
  }

  // All threads of the block take part, also those past the end.
  template <int K, class Context>
  QLORA_DEVICE void store_states(Context& thread, Index i, bool there,
                                 const float (&s)[Rule::states]) const {
    if constexpr (State::in_codes) {
      const float largest = detail::block_maximum<threads, K>(thread, magnitude(s[K]));
      if (there) thread.store(state.at[K] + i, encode_moment<Map<K>>(s[K], largest));
      if (there && thread.thread() == 0) thread.store(state.scale[K] + thread.block(), largest);
    } else {
      if (there) thread.store(state.at[K] + i, s[K]);
    }
    if constexpr (K + 1 < Rule::states) store_states<K + 1>(thread, i, there, s);
  }
};

/// sums[block] = the sum of squares of a part of x, in float; the host adds them up in double.
struct SumOfSquares {
  static constexpr int threads = 256, each = 16;
  static constexpr const char* name = "sum_of_squares";
  const float* x;
  Index count;
  float* sums;

  /// Blocks of threads in a launch.
  Index blocks() const { return blocks_for(count, threads, each); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    float sum = 0;
    const Index first = thread.block() * threads * each + thread.thread();
    for (int k = 0; k < each; ++k) {
      const Index i = first + k * threads;
      const float value = i < count ? thread.load(x + i) : 0.f;
      sum += value * value;
    }
    sum = detail::block_sum<threads, 0>(thread, sum);
    if (thread.thread() == 0) thread.store(sums + thread.block(), sum);
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
