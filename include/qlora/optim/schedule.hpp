/// Learning-rate schedules as in transformers: a factor for step t = 0, 1, ...
///
///     double lr = 2e-4 * qlora::schedule_factor(qlora::Schedule::cosine, step, 10, 100);
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora {

enum class Schedule { constant, cosine, linear };

/// Throws FormatError for another name.
inline Schedule schedule_from_name(std::string_view name) {
  if (name == "constant") return Schedule::constant;
  if (name == "cosine") return Schedule::cosine;
  if (name == "linear") return Schedule::linear;
  throw FormatError(message("schedule '", name, "': expected constant, cosine or linear"));
}

/// t / warmup during warm-up; after it 1, half a cosine to 0, or a line to 0 at `total`.
inline double schedule_factor(Schedule schedule, Index t, Index warmup, Index total) {
  if (t < warmup) return static_cast<double>(t) / static_cast<double>(warmup);
  if (schedule == Schedule::constant) return 1;
  const double progress =
      std::min(1.0, static_cast<double>(t - warmup) /
                        static_cast<double>(std::max<Index>(1, total - warmup)));
  return schedule == Schedule::linear ? 1 - progress
                                      : 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

}  // namespace qlora
