/// Opens a model's file or folder with the formats that a program names. Only those are compiled.
///
///     using Few = qlora::FormatList<qlora::formats::nf4_dq,
///                                   qlora::formats::q4_1,
///                                   qlora::formats::q8_0>;
///     auto source = qlora::open_model<Few>("model.gguf");
///     qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq"});
#pragma once

#include <filesystem>
#include <memory>

#include "qlora/core/config.hpp"
#include "qlora/model/folder_source.hpp"
#include "qlora/model/gguf_source.hpp"

namespace qlora::inline QLORA_ABI {

/// Opens a folder in Hugging Face's layout, or a GGUF file. Its weights may be quantized to the
/// formats of the list, and weights that are packed in one of them may stay so. A GGUF tensor of
/// another type is decoded to floats when it is loaded, and a packed weight of a folder in another
/// format is refused then. Throws IoError for a file that can't be read and FormatError for a
/// malformed one. Safe to call from several threads.
template <class Formats>
std::unique_ptr<ModelSource> open_model(const std::filesystem::path& path) {
  const WeightFormats& formats = weight_formats<Formats>;
  if (std::filesystem::is_directory(path)) return std::make_unique<FolderSource>(path, formats);
  return std::make_unique<GgufSource>(path, formats);
}

}  // namespace qlora::inline QLORA_ABI
