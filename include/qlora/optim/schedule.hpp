/// Learning-rate schedules as in transformers. A schedule gives the factor of the learning rate for
/// step t = 0, 1, ...
///
///     double lr = 2e-4 * qlora::schedule_factor(qlora::Schedule::cosine, step, 10, 100);
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// How the learning rate goes on after the warm-up.
enum class Schedule { constant, cosine, linear };

/// The schedule called "constant", "cosine" or "linear". Throws OptionError for another name.
inline Schedule schedule_from_name(std::string_view name) {
  if (name == "constant") return Schedule::constant;
  if (name == "cosine") return Schedule::cosine;
  if (name == "linear") return Schedule::linear;
  throw OptionError(message("schedule '", name, "': expected constant, cosine or linear"));
}

/// The factor for step t. It is t / warmup for t < warmup. After that, `constant` stays at 1,
/// `cosine` falls to 0 at step `total` by half a period of a cosine, and `linear` falls to 0 there
/// linearly. Safe to call from several threads.
inline double schedule_factor(Schedule schedule, Index t, Index warmup, Index total) {
  if (t < warmup) return static_cast<double>(t) / static_cast<double>(warmup);
  if (schedule == Schedule::constant) return 1;
  const double progress =
      std::min(1.0, static_cast<double>(t - warmup) /
                        static_cast<double>(std::max<Index>(1, total - warmup)));
  return schedule == Schedule::linear ? 1 - progress
                                      : 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

}  // namespace qlora::inline QLORA_ABI
