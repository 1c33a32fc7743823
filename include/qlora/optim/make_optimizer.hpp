/// Optimizers by name, in plain or in paged memory.
///
///     auto optimizer = qlora::make_optimizer<float>({.name = "adamw8bit", .learning_rate = 2e-4,
///                                                    .paged =
///                                                    qlora::FilePagerOptions{"/scratch"}});
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "qlora/memory/file_pager.hpp"
#include "qlora/optim/adam.hpp"
#include "qlora/optim/ademamix.hpp"
#include "qlora/optim/any_optimizer.hpp"
#include "qlora/optim/lion.hpp"
#include "qlora/optim/schedule_free.hpp"
#include "qlora/optim/sgd.hpp"

namespace qlora {

struct OptimizerSettings {
  std::string name = "adamw";  ///< a rule, with "8bit" or "-bf16" behind for how state is kept
  double learning_rate = 2e-4;
  double weight_decay = 0;
  std::optional<FilePagerOptions> paged = {};  ///< state in files, if given
};

/// The rules; each may have "8bit" or "-bf16" behind it.
inline constexpr std::array<std::string_view, 6> rule_names{
    "adamw", "adam", "lion", "sgd", "ademamix", "schedule-free-adamw"};

namespace detail {

template <Scalar T, class Rule, class State>
AnyOptimizer<T> make_optimizer_of(const OptimizerSettings& settings) {
  typename Rule::Options options;
  options.learning_rate = settings.learning_rate;
  options.weight_decay = settings.weight_decay;
  if (settings.paged)
    return AnyOptimizer<T>(
        Optimizer<Rule, State, Paged<FilePager>>(options, FilePager(*settings.paged)));
  return AnyOptimizer<T>(Optimizer<Rule, State>(options));
}

template <Scalar T, class Rule>
AnyOptimizer<T> make_optimizer_of_rule(const OptimizerSettings& settings, std::string_view state) {
  if (state == "8bit") return make_optimizer_of<T, Rule, Blockwise8bit>(settings);
  if (state == "-bf16") return make_optimizer_of<T, Rule, StateOf<bfloat16>>(settings);
  return make_optimizer_of<T, Rule, StateOf<T>>(settings);
}

}  // namespace detail

/// Every name that make_optimizer knows.
inline std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const auto rule : rule_names)
    for (const std::string_view state : {"", "8bit", "-bf16"})
      names.push_back(std::string(rule) + std::string(state));
  return names;
}

/// Throws FormatError for a name that is none, IoError for a folder that can't be written.
template <Scalar T = float>
AnyOptimizer<T> make_optimizer(const OptimizerSettings& settings) {
  std::string_view rule = settings.name, state;
  for (const std::string_view each : {"8bit", "-bf16"})
    if (rule.ends_with(each)) {
      state = each;
      rule.remove_suffix(each.size());
    }
  using namespace detail;
  if (rule == "adamw")
    return make_optimizer_of_rule<T, AdamRule<Decay::decoupled>>(settings, state);
  if (rule == "adam") return make_optimizer_of_rule<T, AdamRule<Decay::coupled>>(settings, state);
  if (rule == "lion") return make_optimizer_of_rule<T, LionRule>(settings, state);
  if (rule == "sgd") return make_optimizer_of_rule<T, SgdRule>(settings, state);
  if (rule == "ademamix") return make_optimizer_of_rule<T, AdemamixRule>(settings, state);
  if (rule == "schedule-free-adamw")
    return make_optimizer_of_rule<T, ScheduleFreeAdamWRule>(settings, state);
  std::string known;
  for (const auto name : rule_names) known += (known.empty() ? "" : ", ") + std::string(name);
  throw FormatError(message("optimizer '", settings.name, "': expected one of ", known,
                            ", perhaps with 8bit or -bf16 behind"));
}

}  // namespace qlora
