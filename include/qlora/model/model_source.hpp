/// Where a model comes from: a GGUF file or a folder in Hugging Face layout.
///
///     auto source = qlora::open_model("SmolLM2-135M-Instruct.Q4_1.gguf");   // or a folder
///     qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq"});
///     qlora::Tokenizer tokenizer(source->tokenizer());
#pragma once

#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/io/warn.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/text/tokenizer_data.hpp"

namespace qlora::inline QLORA_ABI {

struct WeightFormats;

/// A weight's element type and its bytes in the file, scales and tables included.
struct StoredWeight {
  std::string type;
  std::size_t bytes = 0;
};

/// Reads the configuration, the tokenizer and the weights of a model. Weights have Hugging Face's
/// names and order of rows. Any number of threads may read a source at once: nothing changes after
/// the constructor.
class ModelSource {
 public:
  /// formats: those that packed weights may be in and that weights may be quantized to. They must
  /// outlive the source.
  explicit ModelSource(const WeightFormats& formats) : formats_(&formats) {}
  virtual ~ModelSource() = default;
  /// The formats that the source was opened with.
  const WeightFormats& formats() const { return *formats_; }

  /// The file or folder, for messages.
  virtual const std::string& name() const = 0;
  /// The model's configuration. Throws FormatError for another architecture, for sizes that do not
  /// fit together, and for a key that this library does not know.
  virtual LlamaConfig config() const = 0;
  /// The model's tokenizer. Throws IoError for a missing file, and FormatError for a tokenizer that
  /// this library does not support.
  virtual TokenizerData tokenizer() const = 0;

  /// The names of all tensors. A packed weight is one of them, and its parts are not. A tensor that
  /// is no weight of a Llama has the name that the file gives it.
  virtual std::vector<std::string> weights() const = 0;
  /// Whether the source says that the embedding serves as head if there is none.
  virtual bool ties_embeddings() const = 0;
  /// Whether there is a weight of that name.
  virtual bool has(const std::string& weight) const = 0;
  /// The name of a weight in the file.
  virtual std::string own_name(const std::string& weight) const = 0;
  /// The file of a weight and its name there, for messages. The weight must be there.
  virtual std::string where(const std::string& weight) const = 0;
  /// How a weight is stored. Throws FormatError when it is missing.
  virtual StoredWeight stored(const std::string& weight) const = 0;
  /// A weight decoded to floats, [rows, cols]; a vector is one row. Throws FormatError when it is
  /// missing or can't be decoded.
  virtual RowMatrixXf dense(const std::string& weight) const = 0;
  /// A weight in the format that it has in the file: a packed weight stays packed, and its values
  /// do not change. If the source was not opened with its format, a tensor of a GGUF file is
  /// decoded to floats, and a packed weight of a folder is refused with FormatError. `warn` is told
  /// what is worth knowing. Throws FormatError as `dense` does, and NumericError for a scale in a
  /// GGUF file that is not finite.
  virtual AnyLinear<float> as_is(const std::string& weight, const Warn& warn) const = 0;

  /// The bytes of all files with weights, for a checksum.
  virtual std::vector<std::span<const std::byte>> files() const = 0;
  /// Gives the memory of mapped pages back to the system, which reads them again when needed.
  virtual void release_pages() const = 0;

 private:
  const WeightFormats* formats_;
};

namespace model_detail {

/// What a function gave, or the exception that it threw, to be thrown each time it is asked for.
template <class T>
class Attempt {
 public:
  template <class Read>
  explicit Attempt(Read&& read) {
    try {
      value_ = read();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }
  const T& value() const {
    if (failure_) std::rethrow_exception(failure_);
    return value_;
  }

 private:
  T value_{};
  std::exception_ptr failure_;
};

}  // namespace model_detail

}  // namespace qlora::inline QLORA_ABI
