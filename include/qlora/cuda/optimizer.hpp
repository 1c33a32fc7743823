/// AdamW and Lion on the device, state in float or in blockwise 8-bit codes as in optim/state.hpp;
/// one pass over parameter, gradient and state.
///
///     OptimizerStep<AdamWUpdate, FloatState> kernel{AdamWUpdate::at(options, t), p, g, count, state};
#pragma once

#include <cmath>
#include <cstdint>

#include "qlora/codebook/dynamic.hpp"
#include "qlora/cuda/kernel.hpp"
#include "qlora/cuda/reduce.hpp"

namespace qlora::cuda {

/// The constants of step t of AdamW; the formulas of optim/adam.hpp.
struct AdamWUpdate {
  static constexpr int states = 2;
  static constexpr const char* name = "adamw";
  float shrink, rate, epsilon, b1, b2, r1, r2;

  /// Options: learning_rate, beta1, beta2, epsilon, weight_decay.
  template <class Options>
  static AdamWUpdate at(const Options& o, Index t) {
    const auto steps = static_cast<double>(t);
    const double c1 = 1 - std::pow(o.beta1, steps), c2 = std::sqrt(1 - std::pow(o.beta2, steps));
    return {static_cast<float>(1 - o.learning_rate * o.weight_decay),
            static_cast<float>(-o.learning_rate * c2 / c1),
            static_cast<float>(o.epsilon * c2),
            static_cast<float>(o.beta1),
            static_cast<float>(o.beta2),
            static_cast<float>(1 - o.beta1),
            static_cast<float>(1 - o.beta2)};
  }
  QLORA_DEVICE float operator()(float p, float g, float (&s)[2]) const {
    s[0] = b1 * s[0] + r1 * g;
    s[1] = b2 * s[1] + r2 * g * g;
    return shrink * p + rate * s[0] / (std::sqrt(s[1]) + epsilon);
  }
};

/// The constants of Lion; the formulas of optim/lion.hpp.
struct LionUpdate {
  static constexpr int states = 1;
  static constexpr const char* name = "lion";
  float shrink, rate, b1, b2, r1, r2;

  /// Options: learning_rate, beta1, beta2, weight_decay.
  template <class Options>
  static LionUpdate at(const Options& o, Index) {
    return {static_cast<float>(1 - o.learning_rate * o.weight_decay),
            static_cast<float>(o.learning_rate),
            static_cast<float>(o.beta1),
            static_cast<float>(o.beta2),
            static_cast<float>(1 - o.beta1),
            static_cast<float>(1 - o.beta2)};
  }
  QLORA_DEVICE float operator()(float p, float g, float (&s)[1]) const {
    const float u = b1 * s[0] + r1 * g;
    s[0] = b2 * s[0] + r2 * g;
    return shrink * p - rate * (u > 0 ? 1.f : u < 0 ? -1.f : 0.f);
  }
};

inline constexpr int state_block = 256;  ///< elements that share a scale of 8-bit state

/// One float an element and state.
struct FloatState {
  static constexpr bool in_codes = false;
  float* at[2] = {};
};

/// A code an element and state, a float a block of 256: the first state signed, the second not.
struct ByteState {
  static constexpr bool in_codes = true;
  std::uint8_t* at[2] = {};
  float* scale[2] = {};
};

namespace detail {

template <class Map>
QLORA_DEVICE std::uint8_t encode_with_sign(float number, float scale) {
  const float value = scale > 0 ? number / scale : 0.f;
  int code = encode<Map>(value);
  // A code keeps its number's sign, where rounding went across zero.
  if (number < 0 && !(decode<Map>(static_cast<std::uint8_t>(code)) < 0) && code > 0) --code;
  if (number > 0 && decode<Map>(static_cast<std::uint8_t>(code)) < 0) ++code;
  return static_cast<std::uint8_t>(code);
}

}  // namespace detail

/// A block of threads takes 256 elements. Gradients are multiplied by gradient_scale first: 1, or
/// what clipping says.
template <class Update, class State>
struct OptimizerStep {
  static constexpr int threads = state_block;
  static constexpr const char* name = Update::name;
  Update update;
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
    float s[Update::states] = {};
    if (there) {
      QLORA_UNROLL
      for (int k = 0; k < Update::states; ++k) s[k] = load_state(thread, k, i);
      thread.store(parameter + i, update(thread.load(parameter + i),
                                         gradient_scale * thread.load(gradient + i), s));
    }
    if constexpr (State::in_codes) {
      store_codes<0, Dynamic8>(thread, i, s[0]);
      if constexpr (Update::states > 1) store_codes<1, UnsignedDynamic8>(thread, i, s[1]);
    } else if (there) {
      QLORA_UNROLL
      for (int k = 0; k < Update::states; ++k) thread.store(state.at[k] + i, s[k]);
    }
  }

 private:
  template <class Context>
  QLORA_DEVICE float load_state(Context& thread, int k, Index i) const {
    if constexpr (State::in_codes) {
      const std::uint8_t code = thread.load(state.at[k] + i);
      const float value = k == 0 ? decode<Dynamic8>(code) : decode<UnsignedDynamic8>(code);
      return rounded_product(value, thread.load(state.scale[k] + i / state_block));
    } else {
      return thread.load(state.at[k] + i);
    }
  }
  template <int K, class Map, class Context>
  QLORA_DEVICE void store_codes(Context& thread, Index i, float number) const {
    const float largest = detail::block_maximum<threads, K>(thread, magnitude(number));
    if (i >= count) return;
    thread.store(state.at[K] + i, detail::encode_with_sign<Map>(number, largest));
    if (thread.thread() == 0) thread.store(state.scale[K] + thread.block(), largest);
  }
};

/// sums[block] = the sum of squares of a part of x, in float; the host adds them up in double.
struct SumOfSquares {
  static constexpr int threads = 256, each = 16;
  static constexpr const char* name = "sum_of_squares";
  const float* x;
  Index count;
  float* sums;

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

}  // namespace qlora::cuda
