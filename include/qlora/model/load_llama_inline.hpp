/// The functions of load_llama.hpp. They are compiled where they are used. With QLORA_COMPILED they
/// are compiled once, in the target qlora::compiled, which alone includes this file then.
///
///     #include <qlora/model/load_llama.hpp>   // brings this
#pragma once

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/model/llama_weights.hpp"
#include "qlora/model/load_llama.hpp"
#include "qlora/model/open_model.hpp"

namespace qlora::inline QLORA_ABI {

namespace model_detail {

/// Throws a NumericError that names the first weight that is not finite. w: the rows of the weight
/// from first_row on.
inline void require_finite_weights(const ModelSource& source, const std::string& name,
                                   const RowMatrixXf& w, Index first_row = 0) {
  const float *begin = w.data(), *end = begin + w.size();
  const float* bad = std::find_if_not(begin, end, is_finite);
  if (bad != end)
    throw NumericError(message(source.where(name), ": row ", first_row + (bad - begin) / w.cols(),
                               ", column ", (bad - begin) % w.cols(),
                               ": expected a finite weight, found ", *bad));
}

/// A weight decoded to floats, [rows, cols]. Throws FormatError where it is missing, ShapeError
/// where it has another shape, and NumericError where it is not finite.
inline RowMatrixXf load_weights(const ModelSource& source, const std::string& name, Index rows,
                                Index cols) {
  RowMatrixXf w = source.dense(name);
  require_shape(source.where(name).c_str(), w, rows, cols);
  require_finite_weights(source, name, w);
  return w;
}

/// A weight in the format that it has in the file, or as floats where the source was not opened
/// with that format. Throws as load_weights does.
inline AnyLinear<float> load_as_is(const ModelSource& source, const std::string& name, Index rows,
                                   Index cols, const LoadOptions& options) {
  AnyLinear<float> linear = source.as_is(name, options.warn);
  require<ShapeError>(linear.rows() == rows && linear.cols() == cols, source.where(name),
                      ": expected shape [", rows, ", ", cols, "], found [", linear.rows(), ", ",
                      linear.cols(), "]");
  constexpr Index some = 256;
  for (Index row = 0; row < rows; row += some)
    require_finite_weights(source, name, linear.rows_of(row, std::min(some, rows - row)), row);
  return linear;
}

/// A projection in the format asked for. Throws as load_weights and WeightFormats::quantize do.
inline AnyLinear<float> load_projection(const ModelSource& source, const LlamaConfig& config,
                                        Index layer, Projection which, const LoadOptions& options) {
  const auto [rows, cols] = projection_shape(config, which);
  const std::string name = projection_weight_name(layer, which);
  if (options.format == "as-is") return load_as_is(source, name, rows, cols, options);
  RowMatrixXf dense = load_weights(source, name, rows, cols);
  if (options.format == "float") return AnyLinear<float>(std::move(dense));
  return source.formats().quantize(options.format, options.block_size, dense);
}

/// Weights that had to become float32 under "as-is", for one notice after loading.
class DecodedWeights {
 public:
  void add(const StoredWeight& stored, const AnyLinear<float>& linear) {
    const auto bytes = static_cast<std::size_t>(linear.bytes());
    if (stored.type == "F32" ||
        bytes != static_cast<std::size_t>(linear.rows() * linear.cols()) * 4)
      return;
    ++count_;
    types_.insert(stored.type);
    before_ += stored.bytes;
    after_ += bytes;
  }

  void tell(const std::string& name, const Warn& warn) const {
    if (count_ == 0 || !warn) return;
    std::string types;
    for (const auto& type : types_) types += (types.empty() ? "" : ", ") + type;
    char sizes[80];
    std::snprintf(sizes, sizeof(sizes), "%.1f MiB in the file, %.1f MiB in memory",
                  static_cast<double>(before_) / 1048576, static_cast<double>(after_) / 1048576);
    warn(message(name, ": ", count_, count_ == 1 ? " weight in " : " weights in ", types,
                 " became float32, because no product of this program reads this type: ", sizes));
  }

 private:
  std::size_t count_ = 0, before_ = 0, after_ = 0;
  std::set<std::string> types_;
};

}  // namespace model_detail

/// Opens a model with every named format; see load_llama.hpp.
QLORA_INLINE std::unique_ptr<ModelSource> open_model(const std::filesystem::path& path) {
  return open_model<AllFormats>(path);
}

/// Loads the model of a source; see load_llama.hpp.
QLORA_INLINE Llama<float> load_llama(const ModelSource& source, const LoadOptions& options) {
  Llama<float> model;
  model.config = source.config();
  const bool own_head = require_llama_weights(source, options.warn);
  const LlamaConfig& config = model.config;
  const auto epsilon = static_cast<float>(config.norm_epsilon);
  model_detail::DecodedWeights decoded;
  const Family& family = find_family(config.family);
  const auto added = static_cast<float>(config.norm_offset);
  const auto norm = [&](const std::string& name, Index width) {
    const RowMatrixXf w = model_detail::load_weights(source, name, 1, width);
    return RmsNorm<float>{(w.row(0).array() + added).matrix().transpose(), epsilon};
  };
  const auto note = [&](const std::string& name, AnyLinear<float> linear) {
    if (options.format == "as-is") decoded.add(source.stored(name), linear);
    return linear;
  };
  const auto table = [&](const std::string& name) {
    return note(name,
                model_detail::load_as_is(source, name, config.vocabulary, config.width, options));
  };
  model.embedding = table("model.embed_tokens.weight");
  if (own_head) model.head = table("lm_head.weight");
  model.final_norm = norm("model.norm.weight", config.width);
  for (Index layer = 0; layer < config.layers; ++layer) {
    LlamaBlock<float>& block = model.blocks.emplace_back();
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    block.shape = config.attention(layer);
    block.turns = config.kind(layer).turns;
    block.gate_function = config.gate;
    block.residual_scale = static_cast<float>(config.residual_scale);
    const auto norm_of = [&](const NamePair& names, RmsNorm<float>& to, Index width) {
      if (!names.hugging_face.empty()) to = norm(prefix + std::string(names.hugging_face), width);
    };
    norm_of(family.norms.before_attention, block.attention_norm, config.width);
    norm_of(family.norms.after_attention, block.attention_post_norm, config.width);
    norm_of(family.norms.before_feed_forward, block.feed_forward_norm, config.width);
    norm_of(family.norms.after_feed_forward, block.feed_forward_post_norm, config.width);
    if (config.query_key_norm != QueryKeyNorm::none) {
      const bool by_head = config.query_key_norm == QueryKeyNorm::by_head;
      const Index head = config.head_width();
      norm_of(model_detail::head_norms[0], block.query_norm, by_head ? head : config.heads * head);
      norm_of(model_detail::head_norms[1], block.key_norm, by_head ? head : config.kv_heads * head);
    }
    for (int p = 0; p < projection_count; ++p) {
      const auto which = static_cast<Projection>(p);
      if (config.biases[which])
        block.biases[which] =
            model_detail::load_weights(
                source, prefix + std::string(model_detail::projection_biases[which].hugging_face),
                1, projection_shape(config, which).first)
                .row(0)
                .transpose();
      block.projections[static_cast<std::size_t>(p)] = LoraLinear<AnyLinear<float>, float>(
          note(projection_weight_name(layer, which),
               model_detail::load_projection(source, config, layer, which, options)),
          {.rank = 0});
    }
    source.release_pages();
  }
  decoded.tell(source.name(), options.warn);
  model.finish();
  return model;
}

/// Opens and loads a model; see load_llama.hpp.
QLORA_INLINE Llama<float> load_llama(const std::filesystem::path& path,
                                     const LoadOptions& options) {
  return load_llama(*open_model(path), options);
}

}  // namespace qlora::inline QLORA_ABI
