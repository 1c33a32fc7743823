/// LoRA adapters in PEFT's layout: adapter_config.json and adapter_model.safetensors in a folder.
///
///     qlora::write_adapter("out", settings, model.parameters());
///     qlora::AdapterConfig config = qlora::read_adapter_config("out");
///     qlora::read_adapter_weights("out", model.parameters());
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qlora/core/error.hpp"
#include "qlora/io/atomic_file.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/io/safetensors.hpp"
#include "qlora/io/safetensors_writer.hpp"
#include "qlora/nn/parameter.hpp"

namespace qlora {

/// What adapter_config.json says.
struct AdapterConfig {
  Index rank = 16;
  double alpha = 32;
  double dropout = 0;
  bool rank_stabilized = false;  ///< use_rslora: alpha / sqrt(rank)
  std::vector<std::string> target_modules = {};
  std::string base_model = {};
};

inline constexpr const char* peft_prefix = "base_model.model.";

/// Writes both files; parameters carry Hugging Face's names. Each file is whole or untouched.
inline void write_adapter(const std::filesystem::path& directory, const AdapterConfig& config,
                          const ParameterList<float>& parameters) {
  const nlohmann::json json = {{"peft_type", "LORA"},
                               {"task_type", "CAUSAL_LM"},
                               {"base_model_name_or_path", config.base_model},
                               {"r", config.rank},
                               {"lora_alpha", config.alpha},
                               {"lora_dropout", config.dropout},
                               {"target_modules", config.target_modules},
                               {"bias", "none"},
                               {"use_rslora", config.rank_stabilized},
                               {"use_dora", false},
                               {"rank_pattern", nlohmann::json::object()},
                               {"alpha_pattern", nlohmann::json::object()},
                               {"modules_to_save", nullptr},
                               {"init_lora_weights", true},
                               {"fan_in_fan_out", false},
                               {"inference_mode", true}};
  std::map<std::string, const RowMatrixXf*> tensors;
  for (const auto* parameter : parameters)
    tensors.emplace(peft_prefix + parameter->name, &parameter->value);
  write_safetensors(directory / "adapter_model.safetensors", tensors, {{"format", "pt"}});
  write_text_file(directory / "adapter_config.json", json.dump(2) + "\n");
}

/// Throws FormatError for an adapter that is no plain LoRA.
inline AdapterConfig read_adapter_config(const std::filesystem::path& directory) {
  const auto path = directory / "adapter_config.json";
  const nlohmann::json json = read_json_file(path);
  try {
    const std::string type = json.at("peft_type").get<std::string>();
    require<FormatError>(type == "LORA", path.string(), ": peft_type: expected LORA, found ", type);
    for (const char* flag : {"use_dora", "fan_in_fan_out"})
      require<FormatError>(!json.value(flag, false), path.string(), ": ", flag,
                           " is not supported");
    for (const char* pattern : {"rank_pattern", "alpha_pattern", "modules_to_save"})
      require<FormatError>(!json.contains(pattern) || json[pattern].empty(), path.string(), ": ",
                           pattern, " is not supported");
    AdapterConfig config{
        .rank = whole_number(json.at("r"), path.string() + ": r"),
        .alpha = json.at("lora_alpha").get<double>(),
        .dropout = json.value("lora_dropout", 0.0),
        .rank_stabilized = json.value("use_rslora", false),
        .target_modules = json.at("target_modules").get<std::vector<std::string>>(),
        .base_model = {}};
    require<FormatError>(config.rank > 0, path.string(), ": r: expected 1 or more, found ",
                         config.rank);
    if (json.contains("base_model_name_or_path") && json["base_model_name_or_path"].is_string())
      config.base_model = json["base_model_name_or_path"].get<std::string>();
    return config;
  } catch (const nlohmann::json::exception& failure) {
    throw FormatError(message(path.string(), ": ", failure.what()));
  }
}

/// Fills the parameters from adapter_model.safetensors. Every tensor must have its parameter and
/// the right shape.
inline void read_adapter_weights(const std::filesystem::path& directory,
                                 const ParameterList<float>& parameters) {
  const auto path = directory / "adapter_model.safetensors";
  const SafetensorsFile file(path);
  std::vector<RowMatrixXf> values;
  for (const auto* parameter : parameters) {
    values.push_back(file.dense(peft_prefix + parameter->name));
    require<FormatError>(values.back().rows() == parameter->value.rows() &&
                             values.back().cols() == parameter->value.cols(),
                         path.string(), ": ", parameter->name, ": expected shape [",
                         parameter->value.rows(), ", ", parameter->value.cols(), "], found [",
                         values.back().rows(), ", ", values.back().cols(), "]");
  }
  require<FormatError>(file.tensors().size() == parameters.size(), path.string(), ": expected ",
                       parameters.size(), " tensors for this model, found ", file.tensors().size());
  for (std::size_t i = 0; i < values.size(); ++i) parameters[i]->value = std::move(values[i]);
}

}  // namespace qlora
