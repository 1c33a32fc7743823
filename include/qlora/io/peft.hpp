/// LoRA adapters in PEFT's layout: adapter_config.json and adapter_model.safetensors in a folder.
///
///     qlora::write_adapter("out", settings, model.parameters());
///     for (const auto& [module, pair] : qlora::read_adapter_pairs("out")) use(pair.a, pair.b);
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/core/parameter.hpp"
#include "qlora/io/adapter_config.hpp"
#include "qlora/io/atomic_file.hpp"
#include "qlora/io/safetensors.hpp"
#include "qlora/io/safetensors_writer.hpp"

namespace qlora::inline QLORA_ABI {

/// What PEFT writes before the name of each tensor.
inline constexpr const char* peft_prefix = "base_model.model.";

/// Writes both files; parameters carry Hugging Face's names. Each file is whole or untouched.
/// Throws FormatError for a parameter without a name or two of one name, of which only one would be
/// kept.
inline void write_adapter(const std::filesystem::path& directory, const AdapterConfig& config,
                          const ParameterList<float>& parameters) {
  nlohmann::ordered_json ranks = nlohmann::ordered_json::object(), alphas = ranks;
  for (const auto& [module, rank] : config.rank_pattern) ranks[module] = rank;
  for (const auto& [module, alpha] : config.alpha_pattern) alphas[module] = alpha;
  const nlohmann::ordered_json json = {{"peft_type", "LORA"},
                                       {"task_type", "CAUSAL_LM"},
                                       {"base_model_name_or_path", config.base_model},
                                       {"r", config.rank},
                                       {"lora_alpha", config.alpha},
                                       {"lora_dropout", config.dropout},
                                       {"target_modules", config.target_modules},
                                       {"bias", "none"},
                                       {"use_rslora", config.rank_stabilized},
                                       {"use_dora", false},
                                       {"rank_pattern", ranks},
                                       {"alpha_pattern", alphas},
                                       {"modules_to_save", nullptr},
                                       {"init_lora_weights", true},
                                       {"fan_in_fan_out", false},
                                       {"inference_mode", true}};
  std::map<std::string, RowMatrixXf> values;
  for (const auto& parameter : parameters) {
    require<FormatError>(!parameter.name().empty(), directory.string(),
                         ": an adapter's parameter of shape [", parameter.value().rows(), ", ",
                         parameter.value().cols(), "] has no name; set Parameter::name");
    require<FormatError>(values.emplace(peft_prefix + parameter.name(), parameter.value()).second,
                         directory.string(), ": two parameters are named '", parameter.name(), "'");
  }
  std::map<std::string, const RowMatrixXf*> tensors;
  for (const auto& [name, value] : values) tensors.emplace(name, &value);
  write_safetensors(directory / "adapter_model.safetensors", tensors, {{"format", "pt"}});
  write_text_file(directory / "adapter_config.json", json.dump(2) + "\n");
}

/// The matrices of one module's adapter.
struct AdapterPair {
  RowMatrixXf a;      ///< [rank, in]
  RowMatrixXf b;      ///< [out, rank]
  std::string where;  ///< file and name of A, for messages

  /// The rank of the adapter.
  Index rank() const { return a.rows(); }
};

namespace io_detail {

/// "model.layers.0.self_attn.q_proj.lora_A.weight" of a tensor of an adapter file, whose name may
/// also have torch.compile's "_orig_mod." and the adapter's own name "default" in it.
inline std::string adapter_parameter(std::string name) {
  const auto remove = [&](std::string_view part, std::string_view by) {
    if (const auto place = name.find(part); place != std::string::npos)
      name.replace(place, part.size(), by);
  };
  remove("_orig_mod.", "");
  if (name.starts_with(peft_prefix)) name.erase(0, std::string_view(peft_prefix).size());
  remove(".lora_A.default.weight", ".lora_A.weight");
  remove(".lora_B.default.weight", ".lora_B.weight");
  return name;
}

inline void require_finite_tensor(const RowMatrixXf& w, const std::string& where) {
  for (Index i = 0; i < w.size(); ++i)
    if (!is_finite(w.data()[i]))
      throw NumericError(message(where, ": row ", i / w.cols(), ", column ", i % w.cols(),
                                 ": expected a finite weight, found ", w.data()[i]));
}

}  // namespace io_detail

/// The adapters in adapter_model.safetensors by the module that they belong to, such as
/// "model.layers.0.self_attn.q_proj". Throws IoError for a missing file, FormatError that names a
/// tensor which is no part of a plain LoRA or lacks its other half, and NumericError for a value
/// that is not finite.
inline std::map<std::string, AdapterPair> read_adapter_pairs(
    const std::filesystem::path& directory) {
  const auto path = directory / "adapter_model.safetensors";
  require<IoError>(
      std::filesystem::exists(path) || !std::filesystem::exists(directory / "adapter_model.bin"),
      path.string(), ": expected this file, found adapter_model.bin, which is not ", "supported");
  const SafetensorsFile file(path);
  std::map<std::string, AdapterPair> pairs;
  for (const auto& [name, tensor] : file.tensors()) {
    const std::string where = file.name() + ": tensor '" + name + "'";
    const std::string parameter = io_detail::adapter_parameter(name);
    const bool is_a = parameter.ends_with(".lora_A.weight");
    require<FormatError>(name != parameter && (is_a || parameter.ends_with(".lora_B.weight")),
                         where, ": expected ", peft_prefix,
                         "MODULE.lora_A.weight or .lora_B.weight of a plain LoRA");
    AdapterPair& pair =
        pairs[parameter.substr(0, parameter.size() - std::string_view(".lora_A.weight").size())];
    RowMatrixXf& half = is_a ? pair.a : pair.b;
    require<FormatError>(half.size() == 0, where, ": the same matrix comes under another name too");
    half = dense_of(tensor, where);
    require<FormatError>(tensor.shape.size() == 2 && half.size() > 0, where,
                         ": expected a matrix, found ", tensor.shape.size(), " dimensions");
    io_detail::require_finite_tensor(half, where);
    if (is_a || pair.where.empty()) pair.where = where;
  }
  for (const auto& [module, pair] : pairs) {
    require<FormatError>(pair.a.size() > 0 && pair.b.size() > 0, pair.where, ": its other half, ",
                         pair.a.size() > 0 ? "lora_B" : "lora_A", ", is not in the file");
    require<FormatError>(pair.b.cols() == pair.rank(), pair.where, ": expected a lora_B of ",
                         pair.rank(), " columns, found ", pair.b.cols());
  }
  return pairs;
}

/// Fills the parameters from adapter_model.safetensors. Every tensor must have its parameter and
/// the right shape; nothing changes otherwise. Throws as read_adapter_pairs does. To give a model
/// the adapter in a folder, call load_adapter (model/load_adapter.hpp).
inline void read_adapter_weights(const std::filesystem::path& directory,
                                 const ParameterList<float>& parameters) {
  std::map<std::string, RowMatrixXf> values;
  for (auto& [module, pair] : read_adapter_pairs(directory)) {
    values.emplace(module + ".lora_A.weight", std::move(pair.a));
    values.emplace(module + ".lora_B.weight", std::move(pair.b));
  }
  const std::string file = (directory / "adapter_model.safetensors").string();
  std::map<std::string, ParameterRef<float>> wanted;
  for (const auto& parameter : parameters) {
    const auto found = values.find(parameter.name());
    require<FormatError>(found != values.end(), file, ": expected the tensor '", peft_prefix,
                         parameter.name(), "', found none");
    require<FormatError>(found->second.rows() == parameter.value().rows() &&
                             found->second.cols() == parameter.value().cols(),
                         file, ": ", parameter.name(), ": expected shape [",
                         parameter.value().rows(), ", ", parameter.value().cols(), "], found [",
                         found->second.rows(), ", ", found->second.cols(), "]");
    wanted.emplace(parameter.name(), parameter);
  }
  for (const auto& [name, value] : values)
    require<FormatError>(wanted.contains(name), file, ": expected ", parameters.size(),
                         " tensors for this model, found also '", name, "'");
  for (const auto& [name, parameter] : wanted) parameter.value() = values.at(name);
}

}  // namespace qlora::inline QLORA_ABI
