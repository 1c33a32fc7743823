/// The configuration of a Llama from config.json, as versions 4 and 5 of transformers write it.
/// Every key is read, known to change nothing, or refused by name.
///
///     const nlohmann::json json = qlora::read_json_file("config.json");
///     const qlora::LlamaFolderConfig read = qlora::read_llama_json("config.json", json);
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "qlora/core/config.hpp"
#include "qlora/io/json_keys.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/model/llama_sizes.hpp"

namespace qlora::inline QLORA_ABI {

/// What config.json says of a Llama. A plain value, which several threads may read together.
struct LlamaFolderConfig {
  LlamaConfig config;
  bool ties_embeddings = false;  ///< whether the embedding serves as head if the files have none
};

/// Throws a FormatError that names the method unless weights that are packed by it can be read. The
/// details are not checked here: they stand beside each packed weight. json: the value of
/// quantization_config, or null. where: the file that it is in, for messages.
inline void require_readable_quantization(const std::string& where, const nlohmann::json& json) {
  if (json.is_null()) return;
  JsonKeys keys(where + ": quantization_config", json);
  const bool eight = keys.flag("load_in_8bit", false), four = keys.flag("load_in_4bit", false);
  const auto method = keys.text("quant_method", eight || four ? "bitsandbytes" : "none");
  require<FormatError>(method != "bitsandbytes" || !eight, keys.where(),
                       ": bitsandbytes in 8 bits is not supported");
  require<FormatError>(method == "bitsandbytes" || method == "qlora", keys.where(), ": ", method,
                       " is not supported");
}

namespace model_detail {

class LlamaJson {
 public:
  LlamaJson(const std::string& name, const nlohmann::json& json) : keys_(name, json) {}

  LlamaFolderConfig read() {
    read_architecture();
    LlamaFolderConfig all;
    LlamaConfig& config = all.config;
    config.width = keys_.size("hidden_size");
    config.hidden = keys_.size("intermediate_size");
    config.layers = keys_.size("num_hidden_layers");
    config.heads = keys_.size("num_attention_heads");
    // Defaults are those of transformers' LlamaConfig and MistralConfig.
    config.kv_heads = keys_.size("num_key_value_heads", kv_heads_otherwise(config.heads));
    config.context = keys_.size("max_position_embeddings", mistral_ ? 4096 * 32 : 2048);
    config.norm_epsilon = keys_.number("rms_norm_eps", 1e-6);
    config.vocabulary = keys_.size("vocab_size");
    config.rope_base = read_rotary();
    require_sizes(config, {keys_.where("hidden_size"), keys_.where("num_attention_heads"),
                           keys_.where("num_key_value_heads"), keys_.where("rope_theta"),
                           keys_.where("rms_norm_eps")});
    keys_.only("head_dim", config.head_width(), ": a width of its own is not supported");
    read_window(config);
    all.ties_embeddings = keys_.flag("tie_word_embeddings", false);
    refuse_other_parts();
    read_harmless();
    keys_.refuse_rest();
    return all;
  }

 private:
  void read_architecture() {
    const auto type = keys_.text("model_type");
    mistral_ = type == "mistral";
    require<FormatError>(mistral_ || type == "llama", keys_.where("model_type"),
                         ": expected llama, or mistral without a window, found ", type);
    keys_.off("auto_map", ": a model with code of its own");
    if (const auto* quantization = keys_.find("quantization_config"))
      require_readable_quantization(keys_.where(), *quantization);
    const auto activation = keys_.text("hidden_act", "silu");
    require<FormatError>(activation == "silu" || activation == "swish", keys_.where("hidden_act"),
                         ": expected silu, found ", activation);
  }

  Index kv_heads_otherwise(Index heads) {
    // Mistral's default is 8, but a null there means as many as heads.
    return mistral_ && !keys_.contains("num_key_value_heads") ? 8 : heads;
  }

  /// The base of the rotary angles. In files of transformers 5 it is among the rope_parameters.
  double read_rotary() {
    double base = keys_.number("rope_theta", 10000.0);
    for (const char* name : {"rope_parameters", "rope_scaling"})
      if (const auto* json = keys_.find(name)) {
        JsonKeys keys(keys_.where(name), *json);
        for (const char* type : {"rope_type", "type"}) {
          const auto found = keys.text(type, "default");
          require<FormatError>(found == "default", keys.where(), ": ", found,
                               " is not supported: expected no scaling of the rotary embedding");
        }
        base = keys.number("rope_theta", base);
        keys.only("partial_rotary_factor", 1.0);
        keys.refuse_rest();
      }
    keys_.only("partial_rotary_factor", 1.0);
    keys_.only("rope_interleaved", false);
    return base;
  }

  /// A window that no sequence outgrows changes nothing. MistralConfig's default is 4096.
  void read_window(const LlamaConfig& config) {
    const bool absent = !keys_.contains("sliding_window");
    const bool used = keys_.flag("use_sliding_window", true);
    const Index window = keys_.size("sliding_window", absent && mistral_ ? 4096 : config.context);
    require<FormatError>(!used || window >= config.context, keys_.where("sliding_window"),
                         ": expected none or one of at least the context ", config.context,
                         ", found ", window, absent ? " (Mistral's default)" : "");
    if (const auto* types = keys_.find("layer_types"))
      for (const auto& type : *types)
        require<FormatError>(type == "full_attention", keys_.where("layer_types"),
                             ": expected full_attention only, found ", JsonKeys::shown(type));
  }

  /// Parts that other models of this family have; each with the value that leaves it out.
  void refuse_other_parts() {
    for (const char* key : {"attention_bias", "mlp_bias", "qkv_bias", "bias", "use_bias"})
      keys_.only(key, false, ": biases are not supported");
    for (const char* key : {"use_qk_norm", "qk_layernorm", "qk_norm"})
      keys_.only(key, false, ": norms of query and key are not supported");
    for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts",
                            "num_experts_per_tok", "moe_intermediate_size"})
      keys_.only(key, 0, ": mixture of experts is not supported");
    for (const char* key : {"embedding_multiplier", "residual_multiplier", "logits_scaling",
                            "logit_scale", "scale_emb", "scale_depth"})
      keys_.only(key, 1.0, ": scales between the layers are not supported");
    keys_.only("pretraining_tp", 1, ": products in slices are not supported");
    keys_.only("is_encoder_decoder", false);
    keys_.only("add_cross_attention", false);
    keys_.off("pruned_heads");
  }

  void read_harmless() {
    // Who wrote the file and with what; the weights' own types count, not dtype.
    keys_.changes_nothing({"architectures", "transformers_version", "_name_or_path", "_commit_hash",
                           "torch_dtype", "dtype", "is_llama_config", "transformers.js_config",
                           "unsloth_version", "unsloth_fixed", "model_name", "name_or_path",
                           "finetuning_task", "_from_model_config", "max_sequence_length",
                           "max_seq_len", "original_max_position_embeddings"});
    // How it is run and what it returns besides logits.
    keys_.changes_nothing({"use_cache", "return_dict", "output_hidden_states", "output_attentions",
                           "output_scores", "return_dict_in_generate", "torchscript",
                           "use_bfloat16", "chunk_size_feed_forward", "_attn_implementation",
                           "_attn_implementation_autoset", "_flash_attn_2_enabled",
                           "gradient_checkpointing", "is_decoder", "tie_encoder_decoder",
                           "cross_attention_hidden_size", "tf_legacy_loss"});
    // Starts of weights, and dropout when a whole model is trained; an adapter has its own.
    keys_.changes_nothing(
        {"initializer_range", "attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop"});
    // Tokens, which the tokenizer's files say, and labels of other tasks.
    keys_.changes_nothing({"bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id",
                           "decoder_start_token_id", "tokenizer_class", "prefix", "id2label",
                           "label2id", "problem_type", "task_specific_params"});
    // Generation's settings of old, which chat has options for.
    keys_.changes_nothing({"max_length",
                           "min_length",
                           "do_sample",
                           "early_stopping",
                           "num_beams",
                           "num_beam_groups",
                           "diversity_penalty",
                           "temperature",
                           "top_k",
                           "top_p",
                           "typical_p",
                           "repetition_penalty",
                           "length_penalty",
                           "no_repeat_ngram_size",
                           "encoder_no_repeat_ngram_size",
                           "bad_words_ids",
                           "num_return_sequences",
                           "forced_bos_token_id",
                           "forced_eos_token_id",
                           "remove_invalid_values",
                           "exponential_decay_length_penalty",
                           "suppress_tokens",
                           "begin_suppress_tokens"});
  }

  JsonKeys keys_;
  bool mistral_ = false;
};

}  // namespace model_detail

/// Reads the configuration. name: the file, for messages. Throws a FormatError that names the key
/// for another architecture, for a missing key, for sizes that do not fit together, and for
/// whatever this library's Llama can't compute. Safe to call from several threads.
inline LlamaFolderConfig read_llama_json(const std::string& name, const nlohmann::json& json) {
  return model_detail::LlamaJson(name, json).read();
}

}  // namespace qlora::inline QLORA_ABI
