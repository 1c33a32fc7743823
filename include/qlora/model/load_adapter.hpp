/// Loads a LoRA adapter in PEFT's layout into a Llama.
///
///     qlora::Llama<> model = qlora::load_llama(*source);
///     qlora::load_adapter(model, "adapter");
///
/// The tensors in the file say which modules have an adapter. The configuration says what rank each
/// must have, and how it is scaled (lora_alpha, alpha_pattern, use_rslora).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/io/adapter_config.hpp"
#include "qlora/io/peft.hpp"
#include "qlora/model/llama.hpp"

namespace qlora::inline QLORA_ABI {

/// Replaces all adapters of the model by those in the folder `directory`, and returns their
/// configuration. Throws IoError for a missing file, a FormatError that names the tensor or the key
/// for an adapter that is no plain LoRA or belongs to another model, and NumericError for values
/// that are not finite. The model is unchanged then. The model must not be in use by another
/// thread.
inline AdapterConfig load_adapter(Llama<float>& model, const std::filesystem::path& directory) {
  AdapterConfig config = read_adapter_config(directory);
  auto pairs = read_adapter_pairs(directory);
  require<FormatError>(!pairs.empty(), (directory / "adapter_model.safetensors").string(),
                       ": expected the tensors of an adapter, found none");
  std::map<std::string, LoraOptions> modules;
  for (const auto& [module, pair] : pairs) {
    const auto* projection = [&, &module = module, &pair = pair] {
      try {
        return &model.projection(module);
      } catch (const OptionError&) {
        throw FormatError(message(pair.where, ": the model has no projection '", module, "'"));
      }
    }();
    require<FormatError>(pair.a.cols() == projection->cols() && pair.b.rows() == projection->rows(),
                         pair.where, ": expected an adapter of a weight [", projection->rows(),
                         ", ", projection->cols(), "], found one of [", pair.b.rows(), ", ",
                         pair.a.cols(), "]: it belongs to another model");
    const Index rank = config.rank_of(module);
    require<FormatError>(pair.rank() == rank, pair.where, ": expected rank ", rank,
                         " as adapter_config.json says, found ", pair.rank());
    modules[module] = {.rank = rank,
                       .alpha = static_cast<float>(config.alpha_of(module)),
                       .rank_stabilized = config.rank_stabilized,
                       .dropout = static_cast<float>(config.dropout)};
  }
  model.adapt_each(modules);
  for (auto& [module, pair] : pairs) {
    auto& projection = model.projection(module);
    projection.a.value = std::move(pair.a);
    projection.b.value = std::move(pair.b);
  }
  return config;
}

}  // namespace qlora::inline QLORA_ABI
