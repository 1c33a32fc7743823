/// A Llama model from a GGUF file, its projections in the format asked for.
///
///     qlora::GgufFile file("model.gguf");
///     qlora::Llama<> model = qlora::load_llama(file, {.format = "nf4-dq", .block_size = 64});
///
/// Converted files hold attn_q and attn_k with the rows of a rotary pair as neighbours; they go
/// back to Hugging Face's order (i, i + d/2) before quantization, so blocks and adapters are those
/// of the original checkpoint.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "qlora/io/gguf.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/quant/quantize.hpp"
#include "qlora/quant/visit_format.hpp"

namespace qlora {

struct LoadOptions {
  std::string format = "nf4-dq";  ///< of the projections; "float" keeps the decoded weights
  Index block_size = 0;           ///< 0: the format's own (visit_format)
};

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
  const bool sane = config.width > 0 && config.hidden > 0 && config.layers > 0 &&
                    config.heads > 0 && config.kv_heads > 0 && config.context > 0 &&
                    config.heads % config.kv_heads == 0 && config.width % (2 * config.heads) == 0;
  require<FormatError>(sane, file.name(), ": the sizes of the model do not fit together: width ",
                       config.width, ", heads ", config.heads, ", key-value heads ",
                       config.kv_heads, ", layers ", config.layers);
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

/// Rows of each head from neighbours (2i, 2i + 1) to halves (i, i + d/2). w: [heads * head_width,
/// in].
inline RowMatrixXf rows_in_hugging_face_order(const RowMatrixXf& w, Index head_width) {
  RowMatrixXf ordered(w.rows(), w.cols());
  const Index half = head_width / 2;
  for (Index row = 0; row < w.rows(); ++row) {
    const Index head = row / head_width, within = row % head_width;
    ordered.row(head * head_width + (within % 2) * half + within / 2) = w.row(row);
  }
  return ordered;
}

/// A tensor decoded to [rows, cols] floats. Throws FormatError or ShapeError that names it, and
/// NumericError for a weight that is not finite.
inline RowMatrixXf load_weights(const GgufFile& file, const std::string& name, Index rows,
                                Index cols) {
  RowMatrixXf w = file.dense(name);
  require_shape((file.name() + ": " + name).c_str(), w, rows, cols);
  const float *begin = w.data(), *end = begin + w.size();
  const float* bad = std::find_if_not(begin, end, is_finite);
  if (bad != end)
    throw NumericError(message(file.name(), ": ", name, ": row ", (bad - begin) / cols, ", column ",
                               (bad - begin) % cols, ": expected a finite weight, found ", *bad));
  return w;
}

/// The dense projection of a layer, rows in Hugging Face's order. Throws as load_weights does.
inline RowMatrixXf load_projection(const GgufFile& file, const LlamaConfig& config, Index layer,
                                   Projection which) {
  static constexpr std::array<const char*, projection_count> names{
      "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"};
  const Index kv_width = config.kv_heads * config.head_width();
  const std::array<Index, projection_count> rows{
      config.width, kv_width, kv_width, config.width, config.hidden, config.hidden, config.width};
  RowMatrixXf w =
      load_weights(file, "blk." + std::to_string(layer) + "." + names[which] + ".weight",
                   rows[which], which == down_proj ? config.hidden : config.width);
  return which == q_proj || which == k_proj ? rows_in_hugging_face_order(w, config.head_width())
                                            : w;
}

/// A projection in the named format.
inline AnyLinear<float> make_linear(RowMatrixXf dense, const LoadOptions& options) {
  if (options.format == "float") return AnyLinear<float>(std::move(dense));
  AnyLinear<float> linear;
  visit_format(options.format, options.block_size, [&]<class Format>() {
    linear = AnyLinear<float>(quantize<Format>(dense, {.block_size = options.block_size}));
  });
  return linear;
}

/// Embedding, norms and head stay in float. Throws FormatError, ShapeError or NumericError that
/// name the tensor.
inline Llama<float> load_llama(const GgufFile& file, const LoadOptions& options = {}) {
  Llama<float> model;
  model.config = llama_config(file);
  const LlamaConfig& config = model.config;
  const auto epsilon = static_cast<float>(config.norm_epsilon);
  const auto norm = [&](const std::string& name) {
    const RowMatrixXf w = load_weights(file, name, 1, config.width);
    return RmsNorm<float>{w.row(0).transpose(), epsilon};
  };
  model.embedding = load_weights(file, "token_embd.weight", config.vocabulary, config.width);
  if (file.has("output.weight"))
    model.head = load_weights(file, "output.weight", config.vocabulary, config.width);
  model.final_norm = norm("output_norm.weight");
  for (Index layer = 0; layer < config.layers; ++layer) {
    LlamaBlock<float>& block = model.blocks.emplace_back();
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    block.shape = config.attention();
    block.attention_norm = norm(prefix + "attn_norm.weight");
    block.feed_forward_norm = norm(prefix + "ffn_norm.weight");
    for (int p = 0; p < projection_count; ++p) {
      const auto which = static_cast<Projection>(p);
      block.projections[static_cast<std::size_t>(p)] = LoraLinear<AnyLinear<float>, float>(
          make_linear(load_projection(file, config, layer, which), options), {.rank = 0});
    }
    file.file().release_pages();
  }
  model.finish();
  return model;
}

}  // namespace qlora
