/// The tensors of a GGUF file, a safetensors file, or a folder in Hugging Face's layout, of any
/// architecture and all in one form. The program `quantize` reads them.
///
///     const qlora::ModelFile file("SmolLM2-135M-Instruct");
///     for (const qlora::ModelTensor& tensor : file.tensors())
///       if (tensor.is_float()) print(tensor.name, tensor.dense().norm());
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

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/model/folder_source.hpp"
#include "qlora/model/gguf_source.hpp"

namespace qlora::inline QLORA_ABI {

/// A tensor as its file has it. It is valid as long as its ModelFile lives and does not move.
/// Several threads may read one object.
struct ModelTensor {
  std::string name;                    ///< as the file has it
  std::vector<Index> shape;            ///< the fastest dimension last
  std::string dtype;                   ///< safetensors' or GGUF's name, such as F32, or "packed"
  std::size_t size = 0;                ///< bytes in the file, all parts of a packed weight together
  std::span<const std::byte> bytes;    ///< mapped; of a packed weight the codes only
  std::function<RowMatrixXf()> dense;  ///< decodes to floats; empty where is_float() is false

  /// Whether it can be decoded to floats.
  bool is_float() const { return static_cast<bool>(dense); }
};

/// Tells the weights of linear layers from other tensors. A weight is a matrix that can be decoded
/// to floats, lies in one of the numbered layers, and has a name that ends in "weight". Tables by
/// vocabulary or position, heads and routers are left out. In a file without numbered layers, every
/// other matrix counts. Several threads may ask one object.
class LinearWeights {
 public:
  /// tensors: all tensors of one file.
  explicit LinearWeights(const std::vector<ModelTensor>& tensors)
      : has_layers_(std::any_of(tensors.begin(), tensors.end(), [](const ModelTensor& tensor) {
          return is_in_layer(parts_of(tensor.name));
        })) {}

  /// Whether a tensor of that file is the weight of a linear layer.
  bool contains(const ModelTensor& tensor) const {
    if (tensor.shape.size() != 2 || !tensor.is_float()) return false;
    const std::vector<std::string> parts = parts_of(tensor.name);
    if (has_layers_ && !(is_in_layer(parts) && parts.back() == "weight")) return false;
    return parts.size() < 2 || !is_table(parts[parts.size() - 2]);
  }

  /// The parts of a dotted name: "blk.0.attn_q" has three.
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

/// A file or folder, which must stay open while its tensors are used. One of the three pointers is
/// set. Any number of threads may read it at once.
struct ModelFile {
  std::unique_ptr<GgufSource> gguf;
  std::unique_ptr<FolderSource> folder;
  std::unique_ptr<Checkpoint> file;

  /// Opens a folder, a file whose name ends in .gguf, or a safetensors file. Throws IoError for one
  /// that can't be read and FormatError for a malformed one.
  explicit ModelFile(const std::filesystem::path& path) {
    if (std::filesystem::is_directory(path)) {
      folder = std::make_unique<FolderSource>(path);
    } else if (path.extension() == ".gguf") {
      gguf = std::make_unique<GgufSource>(path);
    } else {
      file = std::make_unique<Checkpoint>(path);
    }
  }

  /// The safetensors of the folder or of the file. A GGUF file has none: do not call it for one.
  const Checkpoint& checkpoint() const { return folder ? folder->checkpoint() : *file; }
  /// Gives the memory of mapped pages back to the system, which reads them again when needed.
  void release_pages() const {
    if (gguf) {
      gguf->release_pages();
    } else {
      checkpoint().release_pages();
    }
  }

  /// All tensors, in the order of their names. A packed weight is one tensor. Throws FormatError
  /// for a packed weight whose description is malformed.
  std::vector<ModelTensor> tensors() const { return gguf ? gguf_tensors() : checkpoint_tensors(); }

 private:
  std::vector<ModelTensor> gguf_tensors() const {
    std::vector<ModelTensor> all;
    for (const auto& [name, tensor] : gguf->file().tensors()) {
      all.push_back(
          {name, tensor.shape, gguf_type_name(tensor.type), tensor.bytes.size(), tensor.bytes, {}});
      if (find_gguf_type(tensor.type))
        all.back().dense = [source = gguf.get(), name = name] {
          return source->file().dense(name);
        };
    }
    return all;
  }

  std::vector<ModelTensor> checkpoint_tensors() const {
    const Checkpoint& all_files = checkpoint();
    std::vector<ModelTensor> all;
    std::optional<std::string> packed;  // the weight whose parts follow it in order of names
    for (const auto& name : all_files.names()) {
      if (packed && is_packed_part(*packed, name)) {
        all.back().size += all_files.tensor(name).bytes.size();
        continue;
      }
      const SafeTensor& tensor = all_files.tensor(name);
      ModelTensor input{name, tensor.shape, tensor.dtype, tensor.bytes.size(), tensor.bytes, {}};
      packed.reset();
      if (const auto state = find_packed_state(all_files, name)) {
        packed = name;
        input.shape = {state->rows, state->cols};
        input.dtype = "packed";
        input.dense = [&all_files, state = *state] { return decode_packed(all_files, state); };
      } else if ((tensor.dtype == "F32" || tensor.dtype == "F16" || tensor.dtype == "BF16") &&
                 (tensor.shape.size() == 1 || tensor.shape.size() == 2)) {
        input.dense = [&all_files, name] { return all_files.dense(name); };
      }
      all.push_back(std::move(input));
    }
    return all;
  }
};

}  // namespace qlora::inline QLORA_ABI
