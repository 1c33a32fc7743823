/// A decoder in a GGUF file.
///
///     qlora::GgufSource source("model.gguf");
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/io/gguf.hpp"
#include "qlora/model/llama_gguf.hpp"
#include "qlora/model/llama_names.hpp"
#include "qlora/model/model_source.hpp"
#include "qlora/model/weight_formats.hpp"
#include "qlora/text/tokenizer_gguf.hpp"

namespace qlora::inline QLORA_ABI {

/// A model in a GGUF file. Any number of threads may read it at once: nothing changes after the
/// constructor. Weights have Hugging Face's names and order of rows, whatever the file has.
class GgufSource final : public ModelSource {
 public:
  /// Opens a file. Tensors whose type is among `formats` stay packed when they are loaded;
  /// `formats` must outlive this object. Throws as GgufFile does. Keys that describe no Llama of
  /// this library do not throw here, but in every call that needs the configuration, `dense` and
  /// `as_is` among them.
  explicit GgufSource(const std::filesystem::path& path,
                      const WeightFormats& formats = weight_formats<AllFormats>)
      : ModelSource(formats),
        file_(path),
        family_(family_of(file_)),
        config_([&] { return llama_config(file_); }) {}

  /// The file itself, with its own names and order of rows.
  const GgufFile& file() const { return file_; }
  const std::string& name() const override { return file_.name(); }
  LlamaConfig config() const override { return config_.value(); }
  TokenizerData tokenizer() const override { return tokenizer_data(file_); }

  std::vector<std::string> weights() const override {
    std::vector<std::string> all;
    all.reserve(file_.tensors().size());
    for (const auto& [name, tensor] : file_.tensors())
      all.push_back(hugging_face_name(name, family_).value_or(name));
    return all;
  }
  /// GGUF has no key for this: without a head in the file, the embedding serves as head.
  bool ties_embeddings() const override { return !has("lm_head.weight"); }
  bool has(const std::string& weight) const override { return file_.has(own_name(weight)); }
  /// The weight's name in the file. A name that no weight of a Llama has stays as it is.
  std::string own_name(const std::string& weight) const override {
    return gguf_name(weight, family_).value_or(weight);
  }
  std::string where(const std::string& weight) const override {
    return file_.name() + ": tensor '" + own_name(weight) + "'";
  }
  StoredWeight stored(const std::string& weight) const override {
    const GgufTensor& tensor = file_.tensor(own_name(weight));
    return {gguf_type_name(tensor.type), tensor.bytes.size()};
  }
  RowMatrixXf dense(const std::string& weight) const override {
    const RowOrder order = order_of(weight);
    RowMatrixXf values = file_.dense(own_name(weight));
    if (!weight.ends_with(".bias")) return rows_in_hugging_face_order(values, order);
    return rows_in_hugging_face_order(values.transpose(), order).transpose();
  }
  AnyLinear<float> as_is(const std::string& weight, const Warn&) const override {
    const GgufTensor& tensor = file_.tensor(own_name(weight));
    const RowOrder order = order_of(weight);
    try {
      auto packed = formats().read_gguf(tensor.type, tensor.bytes, tensor.rows(), tensor.cols(),
                                        [&](Index row) { return order.gguf_row(row); });
      if (packed) return std::move(*packed);
    } catch (const NumericError& failure) {
      throw NumericError(message(where(weight), ": ", failure.what()));
    }
    return AnyLinear<float>(dense(weight));
  }

  std::vector<std::span<const std::byte>> files() const override {
    std::vector<std::span<const std::byte>> all;
    for (const auto& file : file_.files()) all.push_back(file.bytes());
    return all;
  }
  void release_pages() const override { file_.release_pages(); }

 private:
  // By the architecture alone, so that names are there where the configuration can't be read.
  static const Family& family_of(const GgufFile& file) {
    const auto& values = file.values();
    const auto key = values.find("general.architecture");
    const auto* name = key == values.end() ? nullptr : std::get_if<std::string>(&key->second);
    const Family* known = name ? family_of_architecture(*name) : nullptr;
    return known ? *known : find_family("llama");
  }
  RowOrder order_of(const std::string& weight) const {
    const RowOrder order = row_order(weight, config_.value().head_width(), family_);
    const GgufTensor& tensor = file_.tensor(own_name(weight));
    const Index rows = weight.ends_with(".bias") ? tensor.cols() : tensor.rows();
    try {
      require_whole_heads(rows, order);
    } catch (const FormatError& failure) {
      throw FormatError(message(where(weight), ": ", failure.what()));
    }
    return order;
  }

  GgufFile file_;
  const Family& family_;
  model_detail::Attempt<LlamaConfig> config_;
};

}  // namespace qlora::inline QLORA_ABI
