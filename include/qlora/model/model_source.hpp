/// Where a model comes from: a GGUF file or a folder in Hugging Face layout.
///
///     auto source = qlora::open_model("SmolLM2-135M-Instruct.Q4_1.gguf");   // or a folder
///     qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq"});
///     qlora::Tokenizer tokenizer(source->tokenizer());
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "qlora/model/llama.hpp"
#include "qlora/text/tokenizer_data.hpp"

namespace qlora {

/// Weights go by Hugging Face's names and have its order of rows.
class ModelSource {
 public:
  virtual ~ModelSource() = default;

  /// The file or folder, for messages.
  virtual const std::string& name() const = 0;
  /// Throws FormatError for another architecture or sizes that do not fit together.
  virtual LlamaConfig config() const = 0;
  virtual TokenizerData tokenizer() const = 0;

  virtual bool has(const std::string& weight) const = 0;
  /// A weight's file and the name it has there, for messages.
  virtual std::string where(const std::string& weight) const = 0;
  /// A weight decoded to floats; a vector is one row. Throws FormatError when it is missing.
  virtual RowMatrixXf dense(const std::string& weight) const = 0;
  /// A weight in the format that it has, packed weights as they are. `warn` hears what is worth
  /// knowing.
  virtual AnyLinear<float> as_is(const std::string& weight,
                                 const std::function<void(const std::string&)>& warn) const = 0;

  /// The bytes of all files with weights, for a checksum.
  virtual std::vector<std::span<const std::byte>> files() const = 0;
  /// Gives mapped pages back to the system.
  virtual void release_pages() const = 0;
};

/// Throws FormatError that begins with `where` unless the sizes make a model.
inline void require_sane(const LlamaConfig& config, const std::string& where) {
  const bool sane = config.width > 0 && config.hidden > 0 && config.layers > 0 &&
                    config.heads > 0 && config.kv_heads > 0 && config.context > 0 &&
                    config.heads % config.kv_heads == 0 && config.width % (2 * config.heads) == 0;
  require<FormatError>(sane, where, ": the sizes of the model do not fit together: width ",
                       config.width, ", heads ", config.heads, ", key-value heads ",
                       config.kv_heads, ", layers ", config.layers);
}

}  // namespace qlora
