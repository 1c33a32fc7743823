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

#include "qlora/io/warn.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/text/tokenizer_data.hpp"

namespace qlora {

struct WeightFormats;

/// A weight's element type and its bytes in the file, scales and tables included.
struct StoredWeight {
  std::string type;
  std::size_t bytes = 0;
};

/// Weights go by Hugging Face's names and have its order of rows. Reading is thread-safe: nothing
/// changes after the constructor.
class ModelSource {
 public:
  /// The formats that packed weights may be in and that weights may be quantized to. They must live
  /// as long as the source.
  explicit ModelSource(const WeightFormats& formats) : formats_(&formats) {}
  virtual ~ModelSource() = default;
  const WeightFormats& formats() const { return *formats_; }

  /// The file or folder, for messages.
  virtual const std::string& name() const = 0;
  /// Throws FormatError for another architecture, sizes that do not fit together, or a key that
  /// this library does not know.
  virtual LlamaConfig config() const = 0;
  virtual TokenizerData tokenizer() const = 0;

  /// The names of all tensors; the parts of a packed weight are not among them. A tensor that no
  /// weight of a Llama is has the name that the file gives it.
  virtual std::vector<std::string> weights() const = 0;
  /// Whether the source itself says that the embedding serves as head when there is none.
  virtual bool ties_embeddings() const = 0;
  virtual bool has(const std::string& weight) const = 0;
  /// What a weight is called in the file.
  virtual std::string own_name(const std::string& weight) const = 0;
  /// A weight's file and the name it has there, for messages. The weight must be there.
  virtual std::string where(const std::string& weight) const = 0;
  virtual StoredWeight stored(const std::string& weight) const = 0;
  /// A weight decoded to floats; a vector is one row. Throws FormatError when it is missing.
  virtual RowMatrixXf dense(const std::string& weight) const = 0;
  /// A weight in the format that it has, packed weights as they are. `warn` hears what is worth
  /// knowing.
  virtual AnyLinear<float> as_is(const std::string& weight, const Warn& warn) const = 0;

  /// The bytes of all files with weights, for a checksum.
  virtual std::vector<std::span<const std::byte>> files() const = 0;
  /// Gives mapped pages back to the system.
  virtual void release_pages() const = 0;

 private:
  const WeightFormats* formats_;
};

namespace detail {

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

}  // namespace detail

}  // namespace qlora
