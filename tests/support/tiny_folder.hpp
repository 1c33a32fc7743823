// The tiny model in other forms: a folder in Hugging Face layout, a GGUF file of packed blocks.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "qlora/io/bitsandbytes.hpp"
#include "qlora/io/gguf_blocks.hpp"
#include "qlora/io/gguf_writer.hpp"
#include "qlora/model/gguf_source.hpp"
#include "qlora/model/llama_metadata.hpp"
#include "qlora/quant/quantize.hpp"
#include "qlora/text/tokenizer_json.hpp"
#include "support/files.hpp"
#include "support/tiny_model.hpp"

namespace test {

// The tiny model with rows of whole blocks, in a GGUF file.
struct TinyFile {
  TemporaryFolder folder;
  TinyModel shape = [] {
    TinyModel tiny;
    tiny.hidden = 64;
    return tiny;
  }();
  std::filesystem::path path = folder.write("m.gguf", shape.bytes());
  qlora::GgufSource source{path};
};

inline bool is_projection(const std::string& name) {
  return name.find("_proj.") != std::string::npos;
}

// The names of all weights, Hugging Face's.
inline std::vector<std::string> weight_names(const qlora::GgufSource& source) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : source.file().tensors())
    names.push_back(qlora::hugging_face_name(name).value());
  return names;
}

// config.json and the tokenizer's files.
inline void write_folder_files(const std::filesystem::path& folder,
                               const qlora::GgufSource& source) {
  std::filesystem::create_directories(folder);
  qlora::write_tokenizer_folder(folder, source.tokenizer());
  qlora::write_text_file(
      folder / "config.json",
      qlora::config_json(source.config(), source.tokenizer(), true, "float32").dump());
}

// A folder with all weights in float32.
inline void write_float_folder(const std::filesystem::path& folder,
                               const qlora::GgufSource& source) {
  write_folder_files(folder, source);
  qlora::SafetensorsWriter file(folder / "model.safetensors", weight_names(source));
  for (const auto& name : weight_names(source)) {
    const qlora::RowMatrixXf w = source.dense(name);
    if (w.rows() == 1) {
      file.add<float>(name, {w.cols()}, {w.data(), static_cast<std::size_t>(w.size())});
    } else {
      file.add(name, w);
    }
  }
  file.commit();
}

// A folder whose projections are packed, in bitsandbytes' layout where that knows the format.
template <class F>
void write_packed_folder(const std::filesystem::path& folder, const qlora::GgufSource& source,
                         const std::string& format) {
  write_folder_files(folder, source);
  std::vector<std::string> names;
  for (const auto& name : weight_names(source)) {
    std::vector<std::string> own{name};
    if (is_projection(name)) {
      if constexpr (qlora::BitsandbytesFormat<F>) {
        own = qlora::bitsandbytes_names<F>(name);
      } else {
        own = qlora::packed_names<F>(name, format);
      }
    }
    names.insert(names.end(), own.begin(), own.end());
  }
  qlora::SafetensorsWriter file(folder / "model.safetensors", names);
  for (const auto& name : weight_names(source)) {
    const qlora::RowMatrixXf w = source.dense(name);
    if (!is_projection(name)) {
      file.add(name, w);
    } else if constexpr (qlora::BitsandbytesFormat<F>) {
      qlora::write_bitsandbytes(file, name, qlora::quantize<F>(w));
    } else {
      qlora::write_packed(file, name, format, qlora::quantize<F>(w));
    }
  }
  file.commit();
}

// A GGUF file whose projections are blocks of a type of its own.
template <class F>
void write_packed_gguf(const std::filesystem::path& path, const qlora::GgufFile& from) {
  qlora::GgufWriter file;
  for (const auto& [key, value] : from.raw_values()) file.set_raw(key, value);
  const auto packed = [](const std::string& name, const qlora::GgufTensor& tensor) {
    return tensor.shape.size() == 2 && name != "token_embd.weight";
  };
  for (const auto& [name, tensor] : from.tensors())
    file.declare(name, tensor.shape, packed(name, tensor) ? qlora::GgufTypeOf<F>::id : tensor.type);
  file.open(path);
  for (const auto& [name, tensor] : from.tensors()) {
    if (packed(name, tensor)) {
      file.write(qlora::to_gguf_blocks(qlora::quantize<F>(from.dense(name))));
    } else {
      file.write(tensor.bytes);
    }
  }
  file.commit();
}

}  // namespace test
