/// What adapter_config.json says of a LoRA adapter (PEFT 0.21). Everything that changes the numbers
/// is read or refused by name.
///
///     const qlora::AdapterConfig config = qlora::read_adapter_config("out");
///     config.alpha_of("model.layers.3.self_attn.q_proj");   // alpha_pattern counts
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/io/json_keys.hpp"

namespace qlora::inline QLORA_ABI {

/// Regular expressions of module names with a value each, in the order of the file.
template <class T>
using ModulePattern = std::vector<std::pair<std::string, T>>;

namespace io_detail {

/// Whether a key of rank_pattern or alpha_pattern is about a module: it matches the whole name, or
/// what follows a dot in it, as in PEFT's get_pattern_key.
inline bool matches_module(const std::string& pattern, const std::string& module) {
  return std::regex_match(module, std::regex("(.*\\.)?(" + pattern + ")"));
}

template <class T>
T of_module(const ModulePattern<T>& pattern, const std::string& module, T otherwise) {
  for (const auto& [key, value] : pattern)
    if (matches_module(key, module)) return value;
  return otherwise;
}

}  // namespace io_detail

/// The settings of an adapter. A plain value: several threads may read one object.
struct AdapterConfig {
  Index rank = 16;
  double alpha = 32;
  double dropout = 0;
  bool rank_stabilized = false;  ///< use_rslora: the scale is alpha / sqrt(rank)
  /// Last names of modules, or one regular expression. Reading an adapter does not need them: the
  /// tensors in its file say which modules it is about.
  std::vector<std::string> target_modules = {};
  std::string base_model = {};
  ModulePattern<Index> rank_pattern = {};    ///< ranks of modules where they are not `rank`
  ModulePattern<double> alpha_pattern = {};  ///< the same for alpha

  /// module: the full name in the base model.
  Index rank_of(const std::string& module) const {
    return io_detail::of_module(rank_pattern, module, rank);
  }
  /// The alpha of a module, likewise.
  double alpha_of(const std::string& module) const {
    return io_detail::of_module(alpha_pattern, module, alpha);
  }
};

namespace io_detail {

class AdapterJson {
 public:
  AdapterJson(const std::string& path, const std::string& text)
      : json_(parse_json(path, text)),
        ordered_(nlohmann::ordered_json::parse(text)),
        keys_(path, json_) {}

  AdapterConfig read() {
    const auto type = keys_.text("peft_type");
    require<FormatError>(type == "LORA", keys_.where("peft_type"), ": expected LORA, found ", type);
    AdapterConfig config{.rank = keys_.size("r", 8),
                         .alpha = finite("lora_alpha", keys_.number("lora_alpha", 8.0)),
                         .dropout = keys_.number("lora_dropout", 0.0),
                         .rank_stabilized = keys_.flag("use_rslora", false),
                         .target_modules = read_targets(),
                         .base_model = keys_.text("base_model_name_or_path", ""),
                         .rank_pattern = {},
                         .alpha_pattern = {}};
    require<FormatError>(config.dropout >= 0 && config.dropout < 1, keys_.where("lora_dropout"),
                         ": expected a number in [0, 1), found ", config.dropout);
    config.rank_pattern = read_pattern<Index>("rank_pattern", [](auto& value, auto& where) {
      return checked_size(whole_number(value, where), where);
    });
    config.alpha_pattern = read_pattern<double>("alpha_pattern", [](auto& value, auto& where) {
      require<FormatError>(value.is_number() && std::isfinite(value.template get<double>()), where,
                           ": expected a finite number, found ", JsonKeys::shown(value));
      return value.template get<double>();
    });
    refuse_other_methods();
    refuse_changed_base();
    // How the adapter came to be and what it was made for; the tensors in its file say which
    // modules were chosen.
    keys_.changes_nothing({"task_type", "auto_mapping", "revision", "peft_version",
                           "inference_mode", "megatron_core", "qalora_group_size", "eva_config",
                           "exclude_modules", "layers_to_transform", "layers_pattern",
                           "runtime_config"});
    keys_.refuse_rest_that_is_on();
    return config;
  }

 private:
  double finite(const std::string& key, double number) const {
    require<FormatError>(std::isfinite(number), keys_.where(key),
                         ": expected a finite number, found ", number);
    return number;
  }

  std::vector<std::string> read_targets() {
    const nlohmann::json* value = keys_.find("target_modules");
    if (!value) return {};
    if (value->is_string()) return {value->get<std::string>()};
    const bool texts = value->is_array() && std::ranges::all_of(*value, [](const auto& each) {
                         return each.is_string();
                       });
    require<FormatError>(texts, keys_.where("target_modules"),
                         ": expected a text or a list of texts, found ", JsonKeys::shown(*value));
    return value->get<std::vector<std::string>>();
  }

  /// The order counts: the first key that matches is taken.
  template <class T, class Read>
  ModulePattern<T> read_pattern(const char* key, Read&& read) {
    ModulePattern<T> pattern;
    const nlohmann::json* value = keys_.find(key);
    if (!value) return pattern;
    require<FormatError>(value->is_object(), keys_.where(key), ": expected an object, found ",
                         JsonKeys::shown(*value));
    for (const auto& [module, number] : ordered_.at(key).items()) {
      const std::string where = keys_.where(std::string(key) + ": '" + module + "'");
      try {
        constexpr std::size_t longest = 1000;  // nested deeper, std::regex runs out of stack
        require<FormatError>(module.size() <= longest, keys_.where(key),
                             ": expected regular expressions of at most ", longest,
                             " bytes, found one of ", module.size());
        (void)matches_module(module, "");
      } catch (const std::regex_error&) {
        throw FormatError(message(where, ": this regular expression is not supported"));
      }
      const nlohmann::json plain = number;
      pattern.emplace_back(module, read(plain, where));
    }
    return pattern;
  }

  /// Other arithmetic than y = x W^T + s x A^T B^T, and weights beside A and B.
  void refuse_other_methods() {
    for (const char* key :
         {"use_dora", "fan_in_fan_out", "modules_to_save", "lora_bias", "use_qalora",
          "layer_replication", "alora_invocation_tokens", "trainable_token_indices",
          "target_parameters", "megatron_config", "arrow_config", "kasa_config", "velora_config",
          "monteclora_config", "use_bdlora", "ensure_weight_tying"})
      keys_.off(key);
    keys_.only("bias", "none", ": biases of an adapter are not supported");
  }

  /// Starts that subtract the adapter from the base model: what was trained belongs to that changed
  /// base, and the stored one would get the adapter's start twice.
  void refuse_changed_base() {
    constexpr std::array<std::string_view, 3> kept_base{"gaussian", "eva", "orthogonal"};
    constexpr const char* why =
        ": training changed the base model too; convert the adapter to one of the unchanged model "
        "first (PEFT's path_initial_model_for_weight_conversion)";
    if (const nlohmann::json* start = keys_.find("init_lora_weights")) {
      const bool kept =
          start->is_boolean() ||
          (start->is_string() && std::ranges::count(kept_base, start->get<std::string>()) > 0);
      require<FormatError>(kept, keys_.where("init_lora_weights"), ": ", JsonKeys::shown(*start),
                           " is not supported", why);
    }
    for (const char* key : {"loftq_config", "corda_config", "lora_ga_config"}) keys_.off(key, why);
  }

  nlohmann::json json_;
  nlohmann::ordered_json ordered_;
  JsonKeys keys_;
};

}  // namespace io_detail

/// Throws IoError for a missing file and FormatError, naming file and key, for an adapter that is
/// no plain LoRA.
inline AdapterConfig read_adapter_config(const std::filesystem::path& directory) {
  const auto path = directory / "adapter_config.json";
  return io_detail::AdapterJson(path.string(), read_text_file(path)).read();
}

}  // namespace qlora::inline QLORA_ABI
