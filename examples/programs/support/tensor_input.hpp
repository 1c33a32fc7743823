// The tensors of a GGUF file, a safetensors file or a folder in Hugging Face layout, one like the
// other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <sstream>
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

// Whether a tensor is the weight of a linear layer: a matrix in one of the numbered layers. Tables
// by vocabulary or position, heads and routers are none. In a file without numbered layers every
// matrix but a table is one.
class LinearWeights {
 public:
  explicit LinearWeights(const std::vector<TensorInput>& tensors)
      : has_layers_(std::any_of(tensors.begin(), tensors.end(), [](const TensorInput& tensor) {
          return is_in_layer(parts_of(tensor.name));
        })) {}

  bool contains(const TensorInput& tensor) const {
    if (tensor.shape.size() != 2 || !tensor.is_float()) return false;
    const std::vector<std::string> parts = parts_of(tensor.name);
    if (has_layers_ && !(is_in_layer(parts) && parts.back() == "weight")) return false;
    return parts.size() < 2 || !is_table(parts[parts.size() - 2]);
  }

  // The parts of a dotted name.
  static std::vector<std::string> parts_of(const std::string& name) {
    std::vector<std::string> parts;
    std::stringstream stream(name);
    for (std::string part; std::getline(stream, part, '.');) parts.push_back(part);
    return parts;
  }

 private:
  static bool is_in_layer(const std::vector<std::string>& parts) {
    return std::any_of(parts.begin(), parts.end(), [](const std::string& part) {
      return !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    });
  }
  static bool is_table(const std::string& module) {
    static const std::set<std::string> names{
        "wte",        "wpe",          "shared",     "emb",
        "lm_head",    "head",         "score",      "gate",
        "classifier", "router",       "output",     "relative_attention_bias",
        "attn_rel_b", "ffn_gate_inp", "ssm_conv1d", "token_types"};
    return module.find("embed") != std::string::npos || module.find("embd") != std::string::npos ||
           names.count(module) > 0;
  }

  bool has_layers_;
};

// A file or folder, open while its tensors are used.
struct ModelInput {
  std::unique_ptr<qlora::GgufSource> gguf;
  std::unique_ptr<qlora::FolderSource> folder;
  std::unique_ptr<qlora::Checkpoint> file;

  explicit ModelInput(const std::filesystem::path& path) {
    if (std::filesystem::is_directory(path)) {
      folder = std::make_unique<qlora::FolderSource>(path);
    } else if (path.extension() == ".gguf") {
      gguf = std::make_unique<qlora::GgufSource>(path);
    } else {
      file = std::make_unique<qlora::Checkpoint>(path);
    }
  }

  const qlora::Checkpoint& checkpoint() const { return folder ? folder->checkpoint() : *file; }
  void release_pages() const {
    if (gguf) {
      gguf->release_pages();
    } else {
      checkpoint().release_pages();
    }
  }

  std::vector<TensorInput> tensors() const { return gguf ? gguf_tensors() : checkpoint_tensors(); }

 private:
  std::vector<TensorInput> gguf_tensors() const {
    std::vector<TensorInput> all;
    for (const auto& [name, tensor] : gguf->file().tensors()) {
      all.push_back({name,
                     tensor.shape,
                     qlora::gguf_type_name(tensor.type),
                     tensor.bytes.size(),
                     tensor.bytes,
                     {}});
      if (qlora::find_gguf_type(tensor.type))
        all.back().dense = [this, name = name] { return gguf->file().dense(name); };
    }
    return all;
  }

  std::vector<TensorInput> checkpoint_tensors() const {
    const qlora::Checkpoint& all_files = checkpoint();
    std::vector<TensorInput> all;
    std::optional<std::string> packed;  // the weight whose parts follow it in order of names
    for (const auto& name : all_files.names()) {
      if (packed && qlora::is_packed_part(*packed, name)) {
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
