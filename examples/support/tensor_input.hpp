// The tensors of a GGUF file, a safetensors file or a folder in Hugging Face layout, one like the
// other.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "qlora/core/matrix.hpp"
#include "qlora/model/folder_source.hpp"
#include "qlora/model/gguf_source.hpp"

namespace program {

using qlora::Index;

// A tensor as its file has it. dtype: F32, F16, BF16, or another name of safetensors or GGUF, or
// "packed".
struct TensorInput {
  std::string name;
  std::vector<Index> shape;
  std::string dtype;
  std::size_t size = 0;              // bytes in the file
  std::span<const std::byte> bytes;  // of a plain tensor
  std::function<qlora::RowMatrixXf()> dense;

  // Whether it can be had as floats.
  bool is_float() const { return static_cast<bool>(dense); }
};

// A file or folder, open while its tensors are used.
struct ModelInput {
  std::unique_ptr<qlora::GgufFile> gguf;
  std::unique_ptr<qlora::FolderSource> folder;
  std::unique_ptr<qlora::Checkpoint> file;

  explicit ModelInput(const std::filesystem::path& path) {
    if (std::filesystem::is_directory(path)) {
      folder = std::make_unique<qlora::FolderSource>(path);
    } else if (path.extension() == ".gguf") {
      gguf = std::make_unique<qlora::GgufFile>(path);
    } else {
      file = std::make_unique<qlora::Checkpoint>(path);
    }
  }

  const qlora::Checkpoint& checkpoint() const { return folder ? folder->checkpoint() : *file; }
  void release_pages() const {
    if (gguf) {
      gguf->file().release_pages();
    } else {
      checkpoint().release_pages();
    }
  }

  std::vector<TensorInput> tensors() const { return gguf ? gguf_tensors() : checkpoint_tensors(); }

 private:
  std::vector<TensorInput> gguf_tensors() const {
    std::vector<TensorInput> all;
    for (const auto& [name, tensor] : gguf->tensors()) {
      const auto* type = qlora::find_gguf_type(tensor.type);
      all.push_back({name, tensor.shape, type->name, tensor.bytes.size(), tensor.bytes,
                     [this, name = name] { return gguf->dense(name); }});
    }
    return all;
  }

  std::vector<TensorInput> checkpoint_tensors() const {
    const qlora::Checkpoint& all_files = checkpoint();
    std::vector<TensorInput> all;
    std::optional<std::string> packed;  // the weight whose parts follow it in order of names
    for (const auto& name : all_files.names()) {
      if (packed && name.starts_with(*packed + ".")) {
        all.back().size += all_files.tensor(name).bytes.size();
        continue;
      }
      const qlora::SafeTensor& tensor = all_files.tensor(name);
      TensorInput input{name, tensor.shape, tensor.dtype, tensor.bytes.size(), tensor.bytes, {}};
      packed.reset();
      if (const auto state = qlora::find_packed_state(all_files, name)) {
        packed = name;
        input.shape = {state->rows, state->cols};
        input.dtype = "packed";
        input.dense = [&all_files, state = *state] {
          return qlora::decode_packed(all_files, state);
        };
      } else if ((tensor.dtype == "F32" || tensor.dtype == "F16" || tensor.dtype == "BF16") &&
                 (tensor.shape.size() == 1 || tensor.shape.size() == 2)) {
        input.dense = [&all_files, name] { return all_files.dense(name); };
      }
      all.push_back(std::move(input));
    }
    return all;
  }
};

}  // namespace program
