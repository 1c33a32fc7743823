/// Checks that the tensors of a source are those of the Llama that its configuration describes:
/// none is missing, and none is left over.
///
///     const bool own_head = qlora::require_llama_weights(*source);
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/model/llama_names.hpp"
#include "qlora/model/model_source.hpp"

namespace qlora::inline QLORA_ABI {

namespace model_detail {

/// Why a tensor that no part of the model reads is refused, for the message.
inline std::string_view reason_for(std::string_view name) {
  using Reason = std::pair<std::string_view, std::string_view>;
  constexpr std::array reasons{
      Reason{"rope_freqs", "scaled rotary embeddings are not supported"},
      Reason{"rope_factors", "scaled rotary embeddings are not supported"},
      Reason{"_exps.", "mixture of experts is not supported"},
      Reason{"gate_inp", "mixture of experts is not supported"},
      Reason{"experts", "mixture of experts is not supported"},
      Reason{"mlp.gate.", "mixture of experts is not supported"},
      Reason{"lora_", "merge the adapter first, or give it as an adapter"},
      Reason{".qweight", "weights of GPTQ or AWQ are not supported"},
      Reason{".qzeros", "weights of GPTQ or AWQ are not supported"},
      Reason{".g_idx", "weights of GPTQ or AWQ are not supported"},
      Reason{".SCB", "bitsandbytes in 8 bits is not supported"},
      Reason{"weight_scale", "weights in FP8 or of compressed-tensors are not supported"},
      Reason{"q_norm", "this family has no norms of query and key"},
      Reason{"k_norm", "this family has no norms of query and key"},
      Reason{"post_attention_norm", "this family has no norms after the sublayers"},
      Reason{"post_ffw_norm", "this family has no norms after the sublayers"},
      Reason{"sinks", "attention sinks are not supported"},
      Reason{".bias", "the configuration says that there is no such bias"}};
  for (const auto& [part, reason] : reasons)
    if (name.find(part) != std::string_view::npos) return reason;
  return "no part of this model reads it";
}

/// Whether a tensor changes nothing: the frequencies of the rotary embedding, which transformers
/// computes from config.json.
inline bool is_harmless_tensor(std::string_view name) {
  return name.ends_with("rotary_emb.inv_freq");
}

/// Whether a tensor is foreign data: integers or doubles under a name that no part of a model has.
inline bool is_foreign_data(const ModelSource& source, const std::string& name) {
  constexpr std::array<std::string_view, 6> types{"I8", "I16", "I32", "I64", "F64", "U8"};
  const bool part = name.starts_with("blk.") || name.starts_with("model.") ||
                    name.starts_with("rope") || name.ends_with(".weight") ||
                    name.ends_with(".bias") || name.ends_with(".scale");
  return !part && std::ranges::count(types, source.stored(name).type) > 0;
}

inline std::optional<std::string> first_missing(const ModelSource& source,
                                                const LlamaConfig& config) {
  for (const char* name : {"model.embed_tokens.weight", "model.norm.weight"})
    if (!source.has(name)) return name;
  const std::vector<std::string> all = layer_weights(config);
  for (Index layer = 0; layer < config.layers; ++layer)
    for (const auto& each : all) {
      const std::string name = "model.layers." + std::to_string(layer) + "." + each;
      if (!source.has(name)) return name;
    }
  return std::nullopt;
}

/// Whether the model of a configuration reads a weight of this name; `layers` are its layer_weights.
inline bool is_model_weight(const std::string& name, const LlamaConfig& config,
                            const std::vector<std::string>& layers) {
  constexpr std::string_view prefix = "model.layers.";
  if (name == rotary_divisors_name) return !config.rotary.divisors.empty();
  if (!name.starts_with(prefix)) return gguf_name(name).has_value();
  Index layer = 0;
  const char *digits = name.data() + prefix.size(), *end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(digits, end, layer);
  if (error != std::errc{} || layer >= config.layers || rest == end || *rest != '.') return false;
  return std::ranges::count(layers, std::string(rest + 1, end)) > 0;
}

/// The first tensor that nothing reads; foreign data does not count.
inline std::optional<std::string> first_left_over(const ModelSource& source,
                                                  const LlamaConfig& config) {
  const std::vector<std::string> layers = layer_weights(config);
  for (const auto& name : source.weights())
    if (!is_model_weight(name, config, layers) && !is_harmless_tensor(name) &&
        !is_foreign_data(source, name))
      return name;
  return std::nullopt;
}

/// Whether two weights are the same numbers.
inline bool same_weights(const ModelSource& source, const std::string& a, const std::string& b) {
  const RowMatrixXf x = source.dense(a), y = source.dense(b);
  return x.rows() == y.rows() && x.cols() == y.cols() && x == y;
}

}  // namespace model_detail

/// Whether the head has a weight of its own, as transformers 5 decides it. A head in the file
/// counts, except where the source ties it to the embedding (tie_word_embeddings) and the two are
/// equal. If the source ties them and they differ, `warn` is called. Throws FormatError where there
/// is no head and the source does not tie it. Several threads may call this at once, if `warn` may
/// be.
inline bool has_own_head(const ModelSource& source, const Warn& warn = {}) {
  const std::string head = "lm_head.weight";
  const bool ties = source.ties_embeddings();
  require<FormatError>(ties || source.has(head), source.name(), ": expected the tensor '", head,
                       "', found none: tie_word_embeddings is false, so that the embedding does ",
                       "not serve as head");
  if (!source.has(head)) return false;
  if (!ties) return true;
  if (model_detail::same_weights(source, head, "model.embed_tokens.weight")) return false;
  if (warn)
    warn(source.where(head) +
         ": it is not the embedding, though tie_word_embeddings is true; the head in the file "
         "counts");
  return true;
}

/// Checks all tensors of a source, and returns has_own_head. Throws a FormatError that names a
/// tensor which is missing or which nothing reads. `warn` is called for integers and doubles under
/// names that parts of models do not have, which are left out. It is also called for an adapter in
/// the model's folder, which transformers would apply and this library leaves out.
inline bool require_llama_weights(const ModelSource& source, const Warn& warn = {}) {
  const LlamaConfig config = source.config();
  const auto missing = model_detail::first_missing(source, config);
  const auto left_over = model_detail::first_left_over(source, config);
  const std::string said =
      left_over ? message(source.where(*left_over), ": ", model_detail::reason_for(*left_over))
                : "";
  require<FormatError>(!missing, source.name(), ": expected the tensor '",
                       missing ? source.own_name(*missing) : "", "', found none",
                       left_over ? "; " : "", said);
  require<FormatError>(!left_over, said);
  std::error_code unseen;
  const auto adapter = std::filesystem::path(source.name()) / "adapter_config.json";
  if (warn && std::filesystem::exists(adapter, unseen))
    warn(
        adapter.string() +
        ": the adapter in this folder is no part of the model and is left out; to use it, give the "
        "folder as an adapter");
  for (const auto& name : source.weights())
    if (warn && model_detail::is_foreign_data(source, name))
      warn(source.where(name) + ": " + source.stored(name).type +
           " data that no part of the model reads; it was left out");
  return has_own_head(source, warn);
}

}  // namespace qlora::inline QLORA_ABI
