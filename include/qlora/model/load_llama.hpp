/// Loads a Llama from a file or a folder, with its projections quantized to the format asked for.
///
///     auto source = qlora::open_model("model.gguf");
///     qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq", .block_size = 64});
///
/// That compiles every named format, which takes more than a minute. A program that needs few of
/// them opens the model by model/open_model.hpp, or links qlora::compiled, which holds all of them
/// and these functions.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "qlora/core/config.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/model/model_source.hpp"

namespace qlora::inline QLORA_ABI {

/// How a model is loaded.
struct LoadOptions {
  /// The format of the projections. "float" keeps them as decoded floats, and "as-is" keeps the
  /// format that they have in the file.
  std::string format = "nf4-dq";
  Index block_size = 0;  ///< elements that share a scale; 0 takes the format's own (visit_format)
  Warn warn = {};        ///< is told what was decoded, left out, or is worth knowing
};

/// Opens a folder in Hugging Face's layout or a GGUF file, with every named format. Throws IoError
/// for a file that can't be read and FormatError for a malformed one. Safe to call from several
/// threads.
QLORA_INLINE std::unique_ptr<ModelSource> open_model(const std::filesystem::path& path);

/// Loads the model of a source. Embedding and head keep the format that they have in the file, and
/// norms are float. Throws what visit_format throws for a format or a block size that the source
/// was not opened with. Throws FormatError, ShapeError or NumericError for a tensor that is
/// missing, that no part of the model reads, that has another shape, or that is not finite. Several
/// threads may load from one source, if options.warn may be called by several.
QLORA_INLINE Llama<float> load_llama(const ModelSource& source, const LoadOptions& options = {});

/// Opens a folder or a file and loads its model. Throws as open_model and load_llama do.
QLORA_INLINE Llama<float> load_llama(const std::filesystem::path& path,
                                     const LoadOptions& options = {});

}  // namespace qlora::inline QLORA_ABI

#if !defined(QLORA_COMPILED)
#include "qlora/model/load_llama_inline.hpp"
#endif
