/// A Llama in a folder of Hugging Face's layout: config.json, one or several safetensors files, and
/// the tokenizer's files. Its weights are floats of 16 or 32 bits, or packed as bitsandbytes or
/// this library packs them.
///
///     qlora::FolderSource source("SmolLM2-135M-Instruct");
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/io/checkpoint.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/model/llama_json.hpp"
#include "qlora/model/model_source.hpp"
#include "qlora/model/weight_formats.hpp"
#include "qlora/text/tokenizer_json.hpp"

namespace qlora::inline QLORA_ABI {

/// A packed weight decoded to floats, [rows, cols]. Throws what WeightFormats::read_packed throws.
inline RowMatrixXf decode_packed(const Checkpoint& file, const PackedState& state,
                                 const WeightFormats& formats = weight_formats<AllFormats>) {
  const AnyLinear<float> packed = formats.read_packed(file, state, {});
  RowMatrixXf values(packed.rows(), packed.cols());
  const Index grain = grain_for(packed.rows(), 1, 4);
  parallel_ranges(packed.rows(), grain, [&](Index begin, Index end) {
    values.middleRows(begin, end - begin) = packed.rows_of(begin, end - begin);
  });
  return values;
}

/// A model in a folder. Any number of threads may read it at once: nothing changes after the
/// constructor.
class FolderSource final : public ModelSource {
 public:
  /// Opens the files of a folder. `formats` are those that packed weights may have, and must
  /// outlive this object. Throws IoError for a missing file and FormatError for a malformed one. A
  /// config.json that describes no Llama of this library does not throw here, but in every call
  /// that needs the configuration.
  explicit FolderSource(const std::filesystem::path& folder,
                        const WeightFormats& formats = weight_formats<AllFormats>)
      : ModelSource(formats),
        folder_(folder),
        config_json_(read_json_file(folder / "config.json")),
        weights_(folder),
        whole_names_(!weights_.has("embed_tokens.weight")),
        config_([&] { return read_llama_json((folder_ / "config.json").string(), config_json_); }) {
  }

  /// The tensors of all safetensors files.
  const Checkpoint& checkpoint() const { return weights_; }
  /// config.json as it was read.
  const nlohmann::json& config_json() const { return config_json_; }
  const std::string& name() const override { return weights_.name(); }

  LlamaConfig config() const override { return config_.value().config; }
  TokenizerData tokenizer() const override { return read_tokenizer_folder(folder_); }

  std::vector<std::string> weights() const override {
    std::vector<std::string> all;
    std::string packed;  // the weight whose parts follow it in order of names
    for (const auto& name : weights_.names()) {
      if (!packed.empty() && is_packed_part(packed, name)) continue;
      all.push_back(full_name(name));
      packed = find_packed_state(weights_, name) ? name : "";
    }
    return all;
  }
  bool ties_embeddings() const override { return config_.value().ties_embeddings; }
  bool has(const std::string& weight) const override { return weights_.has(own_name(weight)); }
  /// Files saved from the model without its head (LlamaModel) leave "model." out of their names.
  std::string own_name(const std::string& weight) const override {
    return whole_names_ || !weight.starts_with("model.") ? weight : weight.substr(6);
  }
  /// The name in Hugging Face's checkpoints of a tensor that these files call `own`.
  std::string full_name(const std::string& own) const {
    const bool inner =
        own.starts_with("layers.") || own.starts_with("embed_tokens.") || own.starts_with("norm.");
    return whole_names_ || !inner ? own : "model." + own;
  }
  std::string where(const std::string& weight) const override {
    return weights_.where(own_name(weight));
  }
  StoredWeight stored(const std::string& weight) const override {
    const std::string name = own_name(weight);
    StoredWeight stored{weights_.tensor(name).dtype, weights_.tensor(name).bytes.size()};
    if (!find_packed_state(weights_, name)) return stored;
    stored.type = "packed";
    for (const auto& each : weights_.names())
      if (is_packed_part(name, each)) stored.bytes += weights_.tensor(each).bytes.size();
    return stored;
  }
  RowMatrixXf dense(const std::string& weight) const override {
    const std::string name = own_name(weight);
    const auto state = find_packed_state(weights_, name);
    return state ? decode_packed(weights_, *state, formats()) : weights_.dense(name);
  }
  AnyLinear<float> as_is(const std::string& weight, const Warn& warn) const override {
    const std::string name = own_name(weight);
    const auto state = find_packed_state(weights_, name);
    if (!state) return AnyLinear<float>(weights_.dense(name));
    return formats().read_packed(weights_, *state, warn);
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
  bool whole_names_ = true;
  model_detail::Attempt<LlamaFolderConfig> config_;
};

}  // namespace qlora::inline QLORA_ABI
