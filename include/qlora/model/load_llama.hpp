/// A Llama model from a file or a folder, its projections in the format asked for.
///
///     auto source = qlora::open_model("model.gguf");
///     qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq", .block_size = 64});
///
/// That compiles every named format, which takes more than a minute. A program that needs few of
/// them opens the model by model/open_model.hpp, or links qlora::compiled, which holds all of them and
/// these functions.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "qlora/core/config.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/model/model_source.hpp"

namespace qlora {

/// How a model is loaded.
struct LoadOptions {
  /// Of the projections. "float" keeps the decoded weights, "as-is" the format that they have in
  /// the file.
  std::string format = "nf4-dq";
  Index block_size = 0;  ///< 0: the format's own (visit_format)
  Warn warn = {};        ///< hears what was decoded, left out, or is worth knowing
};

/// A folder in Hugging Face layout, or a GGUF file, with every named format. Throws IoError or
/// FormatError.
QLORA_INLINE std::unique_ptr<ModelSource> open_model(const std::filesystem::path& path);

/// Embedding and head keep the format that they have in the file, norms are float; `options.format`
/// must be one of those that the source was opened with. Throws FormatError, ShapeError or
/// NumericError that name the tensor, also for one that no part of the model reads.
QLORA_INLINE Llama<float> load_llama(const ModelSource& source, const LoadOptions& options = {});

/// Opens and loads. Throws as both do.
QLORA_INLINE Llama<float> load_llama(const std::filesystem::path& path,
                                     const LoadOptions& options = {});

}  // namespace qlora

#if !defined(QLORA_COMPILED)
#include "qlora/model/load_llama_inline.hpp"
#endif
