/// The configuration of a decoder from config.json, as versions 4 and 5 of transformers write it.
/// Every key is read, known to change nothing, or refused by name.
///
///     const nlohmann::json json = qlora::read_json_file("config.json");
///     const qlora::LlamaFolderConfig read = qlora::read_llama_json("config.json", json);
#pragma once

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/io/json_keys.hpp"
#include "qlora/model/families.hpp"
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

/// Reads how the rotary embedding turns from one object: rope_scaling, or rope_parameters, which has
/// the base as well. Throws a FormatError that names the key for a kind that is not known.
inline Rotary read_rotary_json(JsonKeys& keys, double base) {
  Rotary rotary{.base = keys.number("rope_theta", base)};
  const auto by_old_name = keys.text("type", "default");
  const auto type = keys.text("rope_type", by_old_name);
  if (type == "linear") {
    rotary.scaling = RotaryScaling::linear;
  } else if (type == "llama3") {
    rotary.scaling = RotaryScaling::llama3;
    rotary.low_frequency_factor = keys.number("low_freq_factor");
    rotary.high_frequency_factor = keys.number("high_freq_factor");
  } else if (type == "yarn") {
    rotary.scaling = RotaryScaling::yarn;
    rotary.beta_fast = keys.number("beta_fast", 32.0);
    rotary.beta_slow = keys.number("beta_slow", 1.0);
    rotary.whole_corrections = keys.flag("truncate", true);
  } else {
    require<FormatError>(type == "default", keys.where(), ": ", type,
                         " is not supported: expected default, linear, llama3 or yarn");
  }
  if (rotary.scaling != RotaryScaling::none)
    rotary.factor = checked_positive(keys.number("factor"), keys.where("factor"));
  if (rotary.scaling == RotaryScaling::llama3 || rotary.scaling == RotaryScaling::yarn) {
    rotary.original_context = keys.size("original_max_position_embeddings");
  } else {
    keys.changes_nothing({"original_max_position_embeddings"});
  }
  if (rotary.scaling == RotaryScaling::yarn) {
    // As transformers does: the ratio where both are there and not 0.
    const double all = keys.number("mscale_all_dim", 0.0), one = keys.number("mscale", 0.0);
    const double factor = rotary.factor;
    rotary.magnitude =
        keys.number("attention_factor",
                    all != 0 && one != 0 ? yarn_magnitude(factor, one) / yarn_magnitude(factor, all)
                                         : yarn_magnitude(factor));
  }
  keys.only("partial_rotary_factor", 1.0);
  keys.refuse_rest();
  return rotary;
}

class LlamaJson {
 public:
  LlamaJson(const std::string& name, const nlohmann::json& json) : keys_(name, json) {}

  LlamaFolderConfig read() {
    const Family& family = read_family();
    LlamaFolderConfig all{config_of(family)};
    LlamaConfig& config = all.config;
    config.norm_offset = family.norms_add_one ? 1 : 0;
    config.width = keys_.size("hidden_size");
    config.hidden = keys_.size("intermediate_size");
    config.layers = keys_.size("num_hidden_layers");
    config.heads = keys_.size("num_attention_heads");
    // A null means as many as heads, whatever the default is.
    const bool silent = !keys_.contains("num_key_value_heads") && family.default_kv_heads > 0;
    config.kv_heads =
        keys_.size("num_key_value_heads", silent ? family.default_kv_heads : config.heads);
    config.context = keys_.size("max_position_embeddings", family.default_context);
    config.norm_epsilon = keys_.number("rms_norm_eps", family.default_epsilon);
    config.vocabulary = keys_.size("vocab_size");
    if (!keys_.contains("head_dim")) config.own_head_width = family.default_head_width;
    if (keys_.find("head_dim")) config.own_head_width = keys_.size("head_dim");
    if (config.own_head_width * config.heads == config.width) config.own_head_width = 0;
    read_rotary(config, family);
    require_sizes(config, {keys_.where("hidden_size"), keys_.where("num_attention_heads"),
                           keys_.where("num_key_value_heads"), keys_.where("rope_theta"),
                           keys_.where("rms_norm_eps")});
    read_layers(config, family);
    read_parts(config, family);
    all.ties_embeddings = keys_.flag("tie_word_embeddings", family.ties_embeddings);
    refuse_other_parts(family);
    read_harmless();
    keys_.refuse_rest();
    return all;
  }

 private:
  const Family& read_family() {
    const auto type = keys_.text("model_type");
    const Family* family = family_of_type(type);
    require<FormatError>(family != nullptr, keys_.where("model_type"), ": expected one of ",
                         joined_families(&Family::model_type), ", found ", type);
    keys_.off("auto_map", ": a model with code of its own");
    if (const auto* quantization = keys_.find("quantization_config"))
      require_readable_quantization(keys_.where(), *quantization);
    if (family->gate == GateFunction::silu) {
      const auto activation = keys_.text("hidden_act", "silu");
      require<FormatError>(activation == "silu" || activation == "swish", keys_.where("hidden_act"),
                           ": expected silu, found ", activation);
    } else {
      // Gemma's code does not read hidden_act.
      keys_.changes_nothing({"hidden_act"});
      keys_.only("hidden_activation", "gelu_pytorch_tanh");
    }
    return *family;
  }

  /// In files of transformers 5 the base is among the rope_parameters, which may be two objects.
  void read_rotary(LlamaConfig& config, const Family& family) {
    const double base = keys_.number("rope_theta", family.default_base);
    config.rotary = {.base = base};
    if (config.has_local_rotary)
      config.local_rotary = {.base = keys_.number("rope_local_base_freq", family.local_base)};
    for (const char* name : {"rope_parameters", "rope_scaling"})
      if (const auto* json = keys_.find(name)) {
        JsonKeys keys(keys_.where(name), *json);
        const bool may_be_two = config.has_local_rotary;
        const auto* whole = may_be_two ? keys.find("full_attention") : nullptr;
        const auto* local = may_be_two ? keys.find("sliding_attention") : nullptr;
        if (!whole && !local) {
          config.rotary = read_rotary_json(keys, base);
          continue;
        }
        require<FormatError>(whole && local, keys.where(),
                             ": expected full_attention and sliding_attention");
        JsonKeys of_whole(keys.where("full_attention"), *whole);
        JsonKeys of_local(keys.where("sliding_attention"), *local);
        config.rotary = read_rotary_json(of_whole, base);
        config.local_rotary = read_rotary_json(of_local, config.local_rotary.base);
        keys.refuse_rest();
      }
    keys_.only("partial_rotary_factor", 1.0);
    keys_.only("rope_interleaved", false);
  }

  /// Which layers see a window only, and which have no rotary embedding.
  void read_layers(LlamaConfig& config, const Family& family) {
    const bool absent = !keys_.contains("sliding_window");
    const bool by_flag = family.windows == WindowRule::upper_if_used;
    const bool used = keys_.flag("use_sliding_window", !by_flag);
    const double first_upper = keys_.number("max_window_layers", 28.0);
    const Index given =
        keys_.size("sliding_window",
                   absent && family.default_window > 0 ? family.default_window : largest_size);
    const Index window = used ? given : largest_size;
    const Index interval =
        keys_.size("sliding_window_pattern", keys_.contains("_sliding_window_pattern")
                                                 ? keys_.size("_sliding_window_pattern")
                                                 : std::max<Index>(1, family.window_interval));
    const auto* types = layer_list("layer_types", config);
    const bool may_slide = family.windows != WindowRule::none;
    if (types)
      for (const auto& type : *types)
        require<FormatError>(
            type == "full_attention" || (may_slide && type == "sliding_attention"),
            keys_.where("layer_types"), ": expected ",
            may_slide ? "full_attention or sliding_attention" : "full_attention only", ", found ",
            JsonKeys::shown(type));
    require<FormatError>(may_slide || window >= config.context, keys_.where("sliding_window"),
                         ": expected none or one of at least the context ", config.context,
                         ", found ", given);
    const bool may_not_turn = family.unturned_interval > 0;
    require<FormatError>(may_not_turn || !keys_.contains("no_rope_layer_interval"),
                         keys_.where("no_rope_layer_interval"), ": ", family.model_type,
                         " has no layers without rotary embedding");
    const Index unturned =
        keys_.size("no_rope_layer_interval", std::max<Index>(1, family.unturned_interval));
    const auto* turned = may_not_turn ? layer_list("no_rope_layers", config) : nullptr;
    if (turned)
      for (const auto& one : *turned)
        require<FormatError>(one == 0 || one == 1, keys_.where("no_rope_layers"),
                             ": expected zeros and ones, found ", JsonKeys::shown(*turned));
    if (!may_slide && !may_not_turn) return;
    set_kinds(
        config, window < config.context ? window : 0, keys_.where("num_hidden_layers"),
        [&](Index layer) {
          if (types) return (*types)[static_cast<std::size_t>(layer)] == "sliding_attention";
          return family.windows == WindowRule::all ||
                 (by_flag && static_cast<double>(layer) >= first_upper) ||
                 (family.windows == WindowRule::all_but_each && (layer + 1) % interval != 0);
        },
        [&](Index layer) {
          if (turned) return (*turned)[static_cast<std::size_t>(layer)] == 1;
          return !may_not_turn || (layer + 1) % unturned != 0;
        });
  }
  /// A list with one entry a layer; null where it is absent.
  const nlohmann::json* layer_list(const char* key, const LlamaConfig& config) {
    const auto* list = keys_.find(key);
    require<FormatError>(
        !list || (list->is_array() && static_cast<Index>(list->size()) == config.layers),
        keys_.where(key), ": expected a list of ", config.layers, ", found ",
        list ? JsonKeys::shown(*list) : "");
    return list;
  }

  /// Biases, multipliers and caps.
  void read_parts(LlamaConfig& config, const Family& family) {
    const bool all_four = keys_.flag("attention_bias", false);
    for (const Projection p : {q_proj, k_proj, v_proj})
      config.biases[p] = all_four || family.has_qkv_bias;
    config.biases[o_proj] = all_four;
    const bool feed_forward = keys_.flag("mlp_bias", false);
    for (const Projection p : {gate_proj, up_proj, down_proj}) config.biases[p] = feed_forward;
    if (family.scales_embedding)
      config.embedding_scale = std::sqrt(static_cast<double>(config.width));
    if (family.scales_by_multipliers) {
      config.embedding_scale = keys_.number("embedding_multiplier", 1.0);
      config.residual_scale = keys_.number("residual_multiplier", 1.0);
      config.attention_scale = checked_positive(keys_.number("attention_multiplier", 1.0),
                                                keys_.where("attention_multiplier"));
      config.logit_scale =
          1 / checked_positive(keys_.number("logits_scaling", 1.0), keys_.where("logits_scaling"));
    }
    if (family.default_query_scalar > 0) {
      config.attention_scale =
          1 / std::sqrt(checked_positive(
                  keys_.number("query_pre_attn_scalar", family.default_query_scalar),
                  keys_.where("query_pre_attn_scalar")));
      config.attention_soft_cap = cap("attn_logit_softcapping", family.default_score_cap);
      config.logit_soft_cap = cap("final_logit_softcapping", family.default_logit_cap);
      keys_.only("use_bidirectional_attention", false);
      keys_.changes_nothing({"cache_implementation"});
    }
  }
  /// A cap; a null means none, whatever the default is.
  double cap(const char* key, double otherwise) {
    const double found = keys_.number(key, keys_.contains(key) ? 0.0 : otherwise);
    return found == 0 ? 0.0 : checked_positive(found, keys_.where(key));
  }

  /// Parts that other models of these families have; each with the value that leaves it out.
  void refuse_other_parts(const Family& family) {
    for (const char* key : {"qkv_bias", "bias", "use_bias"})
      keys_.only(key, false, ": biases are not supported");
    for (const char* key : {"use_qk_norm", "qk_layernorm", "qk_norm"})
      keys_.only(key, false, ": norms of query and key are not supported");
    for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts",
                            "num_experts_per_tok", "moe_intermediate_size"})
      keys_.only(key, 0, ": mixture of experts is not supported");
    for (const char* key : {"logit_scale", "scale_emb", "scale_depth"})
      keys_.only(key, 1.0, ": scales between the layers are not supported");
    if (!family.scales_by_multipliers)
      for (const char* key : {"embedding_multiplier", "residual_multiplier", "attention_multiplier",
                              "logits_scaling"})
        keys_.only(key, 1.0, ": scales between the layers are not supported");
    if (family.default_query_scalar == 0)
      for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping"})
        keys_.only(key, 0.0, ": caps are not supported");
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
};

}  // namespace model_detail

/// Reads the configuration. name: the file, for messages. Throws a FormatError that names the key
/// for another architecture, for a missing key, for sizes that do not fit together, and for
/// whatever this library's Llama can't compute. Safe to call from several threads.
inline LlamaFolderConfig read_llama_json(const std::string& name, const nlohmann::json& json) {
  return model_detail::LlamaJson(name, json).read();
}

}  // namespace qlora::inline QLORA_ABI
