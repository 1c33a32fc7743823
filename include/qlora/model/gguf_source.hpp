/// A Llama in a GGUF file.
///
///     qlora::GgufSource source("model.gguf");
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "qlora/io/gguf.hpp"
#include "qlora/io/gguf_blocks.hpp"
#include "qlora/model/llama_names.hpp"
#include "qlora/model/model_source.hpp"

namespace qlora {

/// Throws FormatError for another architecture or a missing key.
inline LlamaConfig llama_config(const GgufFile& file) {
  const auto architecture = file.get<std::string>("general.architecture");
  require<FormatError>(architecture == "llama", file.name(),
                       ": general.architecture: expected llama, found ", architecture);
  const auto size = [&](const char* key) { return file.get<Index>(std::string("llama.") + key); };
  LlamaConfig config;
  config.width = size("embedding_length");
  config.hidden = size("feed_forward_length");
  config.layers = size("block_count");
  config.heads = size("attention.head_count");
  config.kv_heads = file.find<Index>("llama.attention.head_count_kv").value_or(config.heads);
  config.context = size("context_length");
  config.rope_base = file.find<double>("llama.rope.freq_base").value_or(10000.0);
  config.norm_epsilon = file.get<double>("llama.attention.layer_norm_rms_epsilon");
  config.vocabulary = file.tensor("token_embd.weight").rows();
  require_sane(config, file.name());
  const auto rotary = file.find<Index>("llama.rope.dimension_count").value_or(config.head_width());
  require<FormatError>(rotary == config.head_width(), file.name(),
                       ": llama.rope.dimension_count: expected ", config.head_width(), ", found ",
                       rotary);
  require<FormatError>(!file.find<std::string>("llama.rope.scaling.type").has_value() ||
                           file.get<std::string>("llama.rope.scaling.type") == "none",
                       file.name(),
                       ": llama.rope.scaling.type: scaled rotary embeddings are not supported");
  return config;
}

class GgufSource final : public ModelSource {
 public:
  explicit GgufSource(const std::filesystem::path& path) : file_(path) {}

  const GgufFile& file() const { return file_; }
  const std::string& name() const override { return file_.name(); }
  LlamaConfig config() const override { return llama_config(file_); }
  TokenizerData tokenizer() const override { return tokenizer_data(file_); }

  bool has(const std::string& weight) const override {
    const auto name = gguf_name(weight);
    return name && file_.has(*name);
  }
  std::string where(const std::string& weight) const override {
    return file_.name() + ": tensor '" + own_name(weight) + "'";
  }
  RowMatrixXf dense(const std::string& weight) const override {
    return rows_in_hugging_face_order(file_.dense(own_name(weight)), order_of(weight));
  }
  AnyLinear<float> as_is(const std::string& weight,
                         const std::function<void(const std::string&)>&) const override {
    const GgufTensor& tensor = file_.tensor(own_name(weight));
    const RowOrder order = order_of(weight);
    AnyLinear<float> linear;
    const bool packed = visit_gguf_format(tensor.type, [&]<class F>() {
      try {
        linear =
            AnyLinear<float>(from_gguf_blocks<F>(tensor.bytes, tensor.rows(), tensor.cols(),
                                                 [&](Index row) { return order.gguf_row(row); }));
      } catch (const NumericError& failure) {
        throw NumericError(message(where(weight), ": ", failure.what()));
      }
    });
    return packed ? std::move(linear) : AnyLinear<float>(dense(weight));
  }

  std::vector<std::span<const std::byte>> files() const override { return {file_.file().bytes()}; }
  void release_pages() const override { file_.file().release_pages(); }

 private:
  std::string own_name(const std::string& weight) const {
    auto name = gguf_name(weight);
    if (!name)
      throw FormatError(message(file_.name(), ": no weight of a Llama is called '", weight, "'"));
    return *std::move(name);
  }
  RowOrder order_of(const std::string& weight) const {
    return row_order(weight, config().head_width());
  }

  GgufFile file_;
};

}  // namespace qlora
