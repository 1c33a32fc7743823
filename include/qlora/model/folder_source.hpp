/// A Llama in a folder of Hugging Face's layout: config.json, one or several safetensors, and the
/// tokenizer's files; weights in 16 or 32 bits, or packed as bitsandbytes or this library packs
/// them.
///
///     qlora::FolderSource source("SmolLM2-135M-Instruct");
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qlora/io/bitsandbytes.hpp"
#include "qlora/io/checkpoint.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/model/model_source.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/visit_format.hpp"
#include "qlora/text/tokenizer_json.hpp"

namespace qlora {

namespace detail {

/// Reads what transformers writes for a Llama.
class LlamaJson {
 public:
  LlamaJson(std::string name, const nlohmann::json& json) : name_(std::move(name)), json_(json) {}

  LlamaConfig read() const {
    expect<std::string>("model_type", "llama", "none");
    expect<std::string>("hidden_act", "silu", "silu");
    expect<bool>("attention_bias", false, false);
    expect<bool>("mlp_bias", false, false);
    LlamaConfig config;
    config.width = size("hidden_size");
    config.hidden = size("intermediate_size");
    config.layers = size("num_hidden_layers");
    config.heads = size("num_attention_heads");
    config.kv_heads = is_set("num_key_value_heads") ? size("num_key_value_heads") : config.heads;
    config.context = size("max_position_embeddings");
    config.norm_epsilon = json_.at("rms_norm_eps").get<double>();
    config.vocabulary = size("vocab_size");
    require_sane(config, name_);
    if (is_set("head_dim"))
      require<FormatError>(size("head_dim") == config.head_width(), name_, ": head_dim: expected ",
                           config.head_width(), ", found ", size("head_dim"));
    // Since transformers 5 the base stands among the rope_parameters.
    const nlohmann::json rope = value("rope_parameters", nlohmann::json::object());
    config.rope_base = rope.value("rope_theta", value("rope_theta", 10000.0));
    const std::string kind = rope.value("rope_type", std::string("default"));
    require<FormatError>(kind == "default" && value("rope_scaling", nlohmann::json()).is_null(),
                         name_, ": scaled rotary embeddings are not supported");
    return config;
  }

  bool ties_embeddings() const { return value("tie_word_embeddings", false); }

 private:
  bool is_set(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }
  Index size(const char* key) const { return whole_number(json_.at(key), name_ + ": " + key); }
  template <class T>
  T value(const char* key, T otherwise) const {
    const auto place = json_.find(key);
    return place == json_.end() || place->is_null() ? otherwise : place->template get<T>();
  }
  template <class T>
  void expect(const char* key, const T& expected, const T& otherwise) const {
    const T found = value(key, otherwise);
    require<FormatError>(found == expected, name_, ": ", key, ": expected ", expected, ", found ",
                         found);
  }

  std::string name_;
  const nlohmann::json& json_;
};

}  // namespace detail

/// Calls `visit(QuantizedMatrix<F>)` with a packed weight in the format it has in the file. Throws
/// FormatError, naming file and tensor.
template <class Visit>
void read_any_packed(const Checkpoint& file, const PackedState& state, Visit&& visit,
                     const Warn& warn = {}) {
  if (state.packer == "bitsandbytes") return read_bitsandbytes(file, state, visit, warn);
  visit_format(state.format, state.block_size,
               [&]<class F>() { visit(read_packed<F>(file, state)); });
}

/// A packed weight decoded to floats.
inline RowMatrixXf decode_packed(const Checkpoint& file, const PackedState& state) {
  RowMatrixXf values;
  read_any_packed(file, state, [&](const auto& w) { values = dequantize(w); });
  return values;
}

class FolderSource final : public ModelSource {
 private:
  /// What a reader of config.json gives; its errors name the file.
  template <class Read>
  auto checked(Read&& read) const {
    const std::string path = (folder_ / "config.json").string();
    try {
      return read(detail::LlamaJson(path, config_json_));
    } catch (const nlohmann::json::exception& failure) {
      throw FormatError(message(path, ": ", failure.what()));
    }
  }

 public:
  explicit FolderSource(const std::filesystem::path& folder)
      : folder_(folder), config_json_(read_json_file(folder / "config.json")), weights_(folder) {}

  const Checkpoint& checkpoint() const { return weights_; }
  const nlohmann::json& config_json() const { return config_json_; }
  const std::string& name() const override { return weights_.name(); }

  LlamaConfig config() const override {
    return checked([&](const detail::LlamaJson& json) { return json.read(); });
  }
  TokenizerData tokenizer() const override { return read_tokenizer_folder(folder_); }

  bool has(const std::string& weight) const override {
    if (weight == "lm_head.weight" &&
        checked([](const detail::LlamaJson& json) { return json.ties_embeddings(); }))
      return false;
    return weights_.has(weight);
  }
  std::string where(const std::string& weight) const override { return weights_.where(weight); }
  RowMatrixXf dense(const std::string& weight) const override {
    const auto state = find_packed_state(weights_, weight);
    return state ? decode_packed(weights_, *state) : weights_.dense(weight);
  }
  AnyLinear<float> as_is(const std::string& weight, const Warn& warn) const override {
    const auto state = find_packed_state(weights_, weight);
    if (!state) return AnyLinear<float>(weights_.dense(weight));
    AnyLinear<float> linear;
    read_any_packed(
        weights_, *state,
        [&]<class Weight>(Weight&& w) { linear = AnyLinear<float>(std::forward<Weight>(w)); },
        warn);
    return linear;
  }

  std::vector<std::span<const std::byte>> files() const override {
    std::vector<std::span<const std::byte>> all;
    for (const auto& file : weights_.files()) all.push_back(file.file().bytes());
    return all;
  }
  void release_pages() const override { weights_.release_pages(); }

 private:
  std::filesystem::path folder_;
  nlohmann::json config_json_;
  Checkpoint weights_;
};

}  // namespace qlora
