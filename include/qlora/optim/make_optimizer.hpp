/// Optimizers by name, in plain or in paged memory.
///
///     auto optimizer = qlora::make_optimizer<float>(
///         {.name = "adamw8bit",
///          .learning_rate = 2e-4,
///          .paged = qlora::FilePagerOptions{"/scratch"}});
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/memory/file_pager.hpp"
#include "qlora/optim/adam.hpp"
#include "qlora/optim/ademamix.hpp"
#include "qlora/optim/any_optimizer.hpp"
#include "qlora/optim/lion.hpp"
#include "qlora/optim/schedule_free.hpp"
#include "qlora/optim/sgd.hpp"

namespace qlora::inline QLORA_ABI {

/// What make_optimizer is asked for. The learning rate and the weight decay replace the defaults of
/// the rule; its other options keep theirs.
struct OptimizerSettings {
  /// The name of a rule. A suffix "8bit" asks for state in 8-bit codes, "-bf16" for state in
  /// bfloat16. Without a suffix the state has the type of the parameters.
  std::string name = "adamw";
  double learning_rate = 2e-4;
  double weight_decay = 0;
  std::optional<FilePagerOptions> paged = {};  ///< where given, a FilePager holds the state
  std::uint64_t seed = 0;                      ///< of the stochastic rounding of bfloat16 state
};

/// Calls `visit.operator()<Rule>()` for every rule of the library. Safe to call from several
/// threads.
template <class Visit>
void for_each_rule(Visit&& visit) {
  visit.template operator()<AdamRule<Decay::decoupled>>();
  visit.template operator()<AdamRule<Decay::coupled>>();
  visit.template operator()<LionRule>();
  visit.template operator()<SgdRule>();
  visit.template operator()<AdemamixRule>();
  visit.template operator()<ScheduleFreeAdamWRule>();
}

namespace optim_detail {

/// The suffixes of a rule's name that say how state is kept.
inline constexpr std::string_view in_8_bits = "8bit", in_bfloat16 = "-bf16";

template <Scalar T, class Rule, class State>
AnyOptimizer<T> make_optimizer_of(const OptimizerSettings& settings) {
  typename Rule::Options options;
  options.learning_rate = settings.learning_rate;
  options.weight_decay = settings.weight_decay;
  const auto seeded = [&](auto optimizer) {
    optimizer.set_seed(settings.seed);
    return AnyOptimizer<T>(std::move(optimizer));
  };
  if (settings.paged)
    return seeded(Optimizer<Rule, State, Paged<FilePager>>(options, FilePager(*settings.paged)));
  return seeded(Optimizer<Rule, State>(options));
}

template <Scalar T, class Rule>
AnyOptimizer<T> make_optimizer_of_rule(const OptimizerSettings& settings, std::string_view state) {
  if (state == in_8_bits) return make_optimizer_of<T, Rule, Blockwise8bit>(settings);
  if (state == in_bfloat16) return make_optimizer_of<T, Rule, NumberState<bfloat16>>(settings);
  return make_optimizer_of<T, Rule, NumberState<T>>(settings);
}

}  // namespace optim_detail

/// Every name that make_optimizer knows. Safe to call from several threads.
inline std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for_each_rule([&]<class Rule>() {
    for (const std::string_view state :
         {std::string_view(), optim_detail::in_8_bits, optim_detail::in_bfloat16})
      names.push_back(Rule::name + std::string(state));
  });
  return names;
}

/// Makes the optimizer of that name for parameters of type T. Throws OptionError for an unknown
/// name and, with `paged`, what FilePager's constructor throws: IoError for a folder that can't be
/// written. Safe to call from several threads.
template <Scalar T = float>
AnyOptimizer<T> make_optimizer(const OptimizerSettings& settings) {
  std::string_view name = settings.name, state;
  for (const std::string_view each : {optim_detail::in_8_bits, optim_detail::in_bfloat16})
    if (name.ends_with(each)) {
      state = each;
      name.remove_suffix(each.size());
    }
  std::optional<AnyOptimizer<T>> made;
  std::string known;
  for_each_rule([&]<class Rule>() {
    if (name == Rule::name) made = optim_detail::make_optimizer_of_rule<T, Rule>(settings, state);
    known += (known.empty() ? "" : ", ") + std::string(Rule::name);
  });
  require<OptionError>(made.has_value(), "optimizer '", settings.name, "': expected one of ", known,
                       ", perhaps with 8bit or -bf16 behind");
  return std::move(*made);
}

#if defined(QLORA_COMPILED)  // in the target qlora::compiled
extern template AnyOptimizer<float> make_optimizer<float>(const OptimizerSettings& settings);
#endif

}  // namespace qlora::inline QLORA_ABI
