/// A model's file or folder with the formats that a program names: only those are compiled.
///
///     using Few = qlora::FormatList<qlora::Nf4Dq, qlora::Q4_1, qlora::Q8_0>;
///     auto source = qlora::open_model<Few>("model.gguf");
///     qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq"});
#pragma once

#include <filesystem>
#include <memory>

#include "qlora/model/folder_source.hpp"
#include "qlora/model/gguf_source.hpp"

namespace qlora {

/// A folder in Hugging Face layout, or a GGUF file. Weights may be quantized to the formats of the
/// list and kept in them; a GGUF tensor of another type is decoded to float, a packed weight of a
/// folder in another format is refused. Throws IoError or FormatError.
template <class Formats>
std::unique_ptr<ModelSource> open_model(const std::filesystem::path& path) {
  const WeightFormats& formats = weight_formats<Formats>;
  if (std::filesystem::is_directory(path)) return std::make_unique<FolderSource>(path, formats);
  return std::make_unique<GgufSource>(path, formats);
}

}  // namespace qlora
