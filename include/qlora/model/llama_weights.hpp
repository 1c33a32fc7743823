/// Whether the tensors of a source are those of the Llama that its configuration describes: none
/// missing, none left over.
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

#include "qlora/core/error.hpp"
#include "qlora/model/llama_names.hpp"
#include "qlora/model/model_source.hpp"

namespace qlora {

namespace detail {

/// What a tensor that no part of the model reads belongs to, for the message.
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
      Reason{"q_norm", "norms of query and key are not supported"},
      Reason{"k_norm", "norms of query and key are not supported"},
      Reason{"post_attention_norm", "norms after the sublayers are not supported"},
      Reason{"post_ffw_norm", "norms after the sublayers are not supported"},
      Reason{"sinks", "attention sinks are not supported"},
      Reason{".bias", "biases are not supported"}};
  for (const auto& [part, reason] : reasons)
    if (name.find(part) != std::string_view::npos) return reason;
  return "no part of this Llama reads it";
}

/// Tensors that change nothing: transformers works the frequencies out from config.json.
inline bool is_harmless_tensor(std::string_view name) {
  return name.ends_with("rotary_emb.inv_freq");
}

/// A tensor of whole numbers or doubles that is not named as parts of models are: somebody's data.
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
  for (Index layer = 0; layer < config.layers; ++layer)
    for (const auto& pair : block_names) {
      const std::string name =
          "model.layers." + std::to_string(layer) + "." + std::string(pair.hugging_face);
      if (!source.has(name)) return name;
    }
  return std::nullopt;
}

/// Whether a Llama of this many layers has a weight of this name.
inline bool is_llama_weight(const std::string& name, Index layers) {
  constexpr std::string_view prefix = "model.layers.";
  if (!gguf_name(name)) return false;
  if (!name.starts_with(prefix)) return true;
  Index layer = 0;
  const char* digits = name.data() + prefix.size();
  return std::from_chars(digits, name.data() + name.size(), layer).ec == std::errc{} &&
         layer < layers;
}

/// The tensors that nothing reads, data of others' not among them.
inline std::optional<std::string> first_left_over(const ModelSource& source,
                                                  const LlamaConfig& config) {
  for (const auto& name : source.weights())
    if (!is_llama_weight(name, config.layers) && !is_harmless_tensor(name) &&
        !is_foreign_data(source, name))
      return name;
  return std::nullopt;
}

/// Whether two weights are the same numbers.
inline bool same_weights(const ModelSource& source, const std::string& a, const std::string& b) {
  const RowMatrixXf x = source.dense(a), y = source.dense(b);
  return x.rows() == y.rows() && x.cols() == y.cols() && x == y;
}

}  // namespace detail

/// Whether the head has a weight of its own, as transformers 5 sees it: a head in the file counts,
/// with a warning where tie_word_embeddings says otherwise and it is not the embedding again.
/// Throws FormatError when there is no head and the embedding does not serve.
inline bool has_own_head(const ModelSource& source, const Warn& warn = {}) {
  const std::string head = "lm_head.weight";
  const bool ties = source.ties_embeddings();
  require<FormatError>(ties || source.has(head), source.name(), ": expected the tensor '", head,
                       "', found none: tie_word_embeddings is false, so that the embedding does ",
                       "not serve as head");
  if (!source.has(head)) return false;
  if (!ties) return true;
  if (detail::same_weights(source, head, "model.embed_tokens.weight")) return false;
  if (warn)
    warn(source.where(head) +
         ": it is not the embedding, though tie_word_embeddings is true; the head in the file "
         "counts");
  return true;
}

/// Throws FormatError that names a tensor which is missing or which nothing reads. Whole numbers and
/// doubles under other names than a model's are left out with a warning, and so is an adapter that
/// lies in the model's folder: transformers would apply it. Returns has_own_head.
inline bool require_llama_weights(const ModelSource& source, const Warn& warn = {}) {
  const LlamaConfig config = source.config();
  const auto missing = detail::first_missing(source, config);
  const auto left_over = detail::first_left_over(source, config);
  const std::string said =
      left_over ? message(source.where(*left_over), ": ", detail::reason_for(*left_over)) : "";
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
    if (warn && detail::is_foreign_data(source, name))
      warn(source.where(name) + ": " + source.stored(name).type +
           " data that no part of a Llama reads; it was left out");
  return has_own_head(source, warn);
}

}  // namespace qlora
