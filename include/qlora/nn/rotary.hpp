/// How rotary position embedding turns: base, the share of a head that turns, and the scalings by
/// which models are stretched beyond the context that they began with. Without Eigen; the host's
/// layer and a device's take their frequencies from here.
///
///     qlora::Rotary rotary{.base = 5e5, .scaling = qlora::RotaryScaling::llama3,
///                          .factor = 32, .original_context = 8192};
///     std::vector<double> per_pair = qlora::rotary_frequencies(rotary, 64);   // 32 of them
///
/// Su et al. 2021; Peng et al. 2023 (YaRN). All functions are pure: any number of threads may call
/// them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// The kinds of scaling, by the names that transformers has for them.
enum class RotaryScaling : std::uint8_t { none, linear, llama3, yarn };

/// Pair i of a head turns by position * base^(-2i/d), before scaling, with d elements that turn.
/// A plain value, which several threads may read together.
struct Rotary {
  double base = 10000;
  Index width = 0;  ///< the elements of a head that turn, its first ones; 0 for all
  RotaryScaling scaling = RotaryScaling::none;
  double factor = 1;           ///< by which the context was stretched; not for none
  Index original_context = 0;  ///< the context before that, for llama3 and yarn
  double low_frequency_factor = 1, high_frequency_factor = 4;  ///< of llama3
  double beta_fast = 32, beta_slow = 1;                        ///< of yarn
  bool whole_corrections = true;  ///< of yarn: whether the ends of its ramp are whole numbers
  double magnitude = 1;  ///< factor of what is turned, the "attention factor" of yarn and longrope
  std::vector<double> divisors = {};  ///< one a pair: divides its frequency; empty for none
};

namespace nn_detail {

/// llama3: frequencies whose wave is longer than the old context are divided by the factor, short
/// waves stay, and between them the change is smooth.
inline double llama3_frequency(const Rotary& rotary, double frequency) {
  const double turns = static_cast<double>(rotary.original_context) * frequency /
                       (2 * std::numbers::pi);  // in the old context
  const double low = rotary.low_frequency_factor, high = rotary.high_frequency_factor;
  if (turns < low) return frequency / rotary.factor;
  if (turns > high) return frequency;
  const double smooth = (turns - low) / (high - low);
  return (1 - smooth) * frequency / rotary.factor + smooth * frequency;
}

/// YaRN: pairs that turn more than beta_fast times in the old context stay, those that turn less
/// than beta_slow times are divided by the factor, and between them a ramp leads over.
inline double yarn_frequency(const Rotary& rotary, Index pair, Index pairs, double frequency) {
  const auto pair_of_turns = [&](double turns) {
    return static_cast<double>(pairs) *
           std::log(static_cast<double>(rotary.original_context) / (turns * 2 * std::numbers::pi)) /
           std::log(rotary.base);
  };
  double low = pair_of_turns(rotary.beta_fast), high = pair_of_turns(rotary.beta_slow);
  if (rotary.whole_corrections) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(2 * pairs - 1));
  if (low == high) high += 0.001;
  const double ramp = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
  return ramp * frequency / rotary.factor + (1 - ramp) * frequency;
}

}  // namespace nn_detail

/// YaRN's factor of what is turned, for a context that was stretched by `factor`; some models take a
/// share of it.
inline double yarn_magnitude(double factor, double share = 1) {
  return factor <= 1 ? 1.0 : 0.1 * share * std::log(factor) + 1.0;
}

/// The angle by which each pair turns from one position to the next, half as many as elements of a
/// head turn. Throws ShapeError for an odd width, for one beyond the head's, and for divisors of
/// another number; OptionError for a base or a factor that is no positive number, and for a scaling
/// without its original context.
inline std::vector<double> rotary_frequencies(const Rotary& rotary, Index head_width) {
  const Index width = rotary.width == 0 ? head_width : rotary.width;
  require<ShapeError>(head_width > 0 && width > 0 && width % 2 == 0 && width <= head_width,
                      "rotary embedding: expected an even width of at most the head's ", head_width,
                      ", found ", width);
  require<OptionError>(rotary.base > 0 && std::isfinite(rotary.base),
                       "rotary embedding: expected a base above 0, found ", rotary.base);
  require<OptionError>(rotary.factor > 0 && std::isfinite(rotary.factor),
                       "rotary embedding: expected a factor above 0, found ", rotary.factor);
  const bool needs_context =
      rotary.scaling == RotaryScaling::llama3 || rotary.scaling == RotaryScaling::yarn;
  require<OptionError>(!needs_context || rotary.original_context > 0,
                       "rotary embedding: expected the original context of its scaling");
  const Index pairs = width / 2;
  require<ShapeError>(
      rotary.divisors.empty() || static_cast<Index>(rotary.divisors.size()) == pairs,
      "rotary embedding: expected ", pairs, " divisors, one a pair, found ",
      rotary.divisors.size());
  std::vector<double> frequencies(static_cast<std::size_t>(pairs));
  for (Index i = 0; i < pairs; ++i) {
    const double plain =
        std::pow(rotary.base, -2.0 * static_cast<double>(i) / static_cast<double>(width));
    double frequency = plain;
    if (rotary.scaling == RotaryScaling::linear) frequency = plain / rotary.factor;
    if (rotary.scaling == RotaryScaling::llama3)
      frequency = nn_detail::llama3_frequency(rotary, plain);
    if (rotary.scaling == RotaryScaling::yarn)
      frequency = nn_detail::yarn_frequency(rotary, i, pairs, plain);
    const auto place = static_cast<std::size_t>(i);
    frequencies[place] = rotary.divisors.empty() ? frequency : frequency / rotary.divisors[place];
  }
  return frequencies;
}

}  // namespace qlora::inline QLORA_ABI
