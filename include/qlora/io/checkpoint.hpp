/// The tensors of a checkpoint by name, from one safetensors file or from a folder in Hugging Face
/// layout with one file or several behind an index. As in transformers, model.safetensors counts
/// before an index, and the index says which file a tensor comes from.
///
///     qlora::Checkpoint checkpoint("SmolLM2-135M");            // or ".../model.safetensors"
///     qlora::RowMatrixXf w = checkpoint.dense("model.embed_tokens.weight");
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/io/safetensors.hpp"

namespace qlora::inline QLORA_ABI {

/// All tensors of one checkpoint. Several threads may read it at once: nothing changes after the
/// constructor.
class Checkpoint {
 public:
  /// Throws IoError for a missing file, FormatError for an index that does not fit the files.
  explicit Checkpoint(const std::filesystem::path& path) : name_(path.string()) {
    const auto index = path / "model.safetensors.index.json";
    if (!std::filesystem::is_directory(path)) {
      add_file(path);
    } else if (std::filesystem::exists(path / "model.safetensors")) {
      add_file(path / "model.safetensors");
    } else if (std::filesystem::exists(index)) {
      read_index(path, index);
    } else {
      const bool torch = std::filesystem::exists(path / "pytorch_model.bin") ||
                         std::filesystem::exists(path / "pytorch_model.bin.index.json");
      throw IoError(message(
          name_, ": expected model.safetensors or model.safetensors.index.json in the folder",
          torch ? ", found pytorch_model.bin, which is not supported" : ", found none"));
    }
  }

  /// The path, for messages.
  const std::string& name() const { return name_; }
  /// In order of their names.
  const std::vector<SafetensorsFile>& files() const { return files_; }
  /// The names of all tensors, in order.
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    all.reserve(place_.size());
    for (const auto& [name, file] : place_) all.push_back(name);
    return all;
  }

  /// The first name, in order, that begins with `prefix`.
  std::optional<std::string> first_with_prefix(const std::string& prefix) const {
    const auto place = place_.lower_bound(prefix);
    if (place == place_.end() || !place->first.starts_with(prefix)) return std::nullopt;
    return place->first;
  }
  /// Whether there is a tensor of that name.
  bool has(const std::string& name) const { return place_.contains(name); }
  /// Throws FormatError when there is no such tensor.
  const SafeTensor& tensor(const std::string& name) const { return file_of(name).tensor(name); }
  /// A matrix of F32, F16 or BF16 as floats; a vector is one row. Throws FormatError for another
  /// tensor.
  RowMatrixXf dense(const std::string& name) const { return file_of(name).dense(name); }
  /// The file that holds a tensor and the tensor's name, for messages.
  std::string where(const std::string& name) const {
    return file_of(name).name() + ": tensor '" + name + "'";
  }

  /// Gives the pages of all files back to the system.
  void release_pages() const {
    for (const auto& file : files_) file.file().release_pages();
  }

 private:
  void add_file(const std::filesystem::path& path) {
    files_.emplace_back(path);
    for (const auto& [name, tensor] : files_.back().tensors()) place_[name] = 0;
  }

  /// Each tensor comes from the file that the index names, whatever other files hold one of its
  /// name; a tensor that the index does not name would be lost and is refused.
  void read_index(const std::filesystem::path& folder, const std::filesystem::path& index) {
    const nlohmann::json json = read_json_file(index);
    const bool has_map =
        json.is_object() && json.contains("weight_map") && json["weight_map"].is_object();
    require<FormatError>(has_map, index.string(), ": weight_map: expected an object, found none");
    std::map<std::string, std::size_t> files;
    for (const auto& [tensor, value] : json["weight_map"].items()) {
      const std::string where = index.string() + ": tensor '" + tensor + "'";
      require<FormatError>(value.is_string(), where, ": expected the name of a file, found ",
                           value.dump());
      const auto file = value.get<std::string>();
      require<FormatError>(file.find('/') == std::string::npos, where,
                           ": expected the name of a file in the folder, found '", file, "'");
      require<IoError>(files.contains(file) || std::filesystem::exists(folder / file), where,
                       ": its file ", file, " is not in the folder");
      files.emplace(file, 0);
    }
    for (auto& [file, number] : files) {
      number = files_.size();
      files_.emplace_back(folder / file);
    }
    for (const auto& [tensor, value] : json["weight_map"].items()) {
      const auto file = value.get<std::string>();
      const std::size_t number = files.at(file);
      require<FormatError>(files_[number].has(tensor), index.string(), ": the tensor '", tensor,
                           "' is not in ", file);
      place_[tensor] = number;
    }
    for (const auto& file : files_)
      for (const auto& [tensor, bytes] : file.tensors())
        require<FormatError>(place_.contains(tensor), file.name(), ": the tensor '", tensor,
                             "' is not in ", index.filename().string());
  }

  const SafetensorsFile& file_of(const std::string& name) const {
    const auto place = place_.find(name);
    require<FormatError>(place != place_.end(), name_, ": expected the tensor '", name,
                         "', found none");
    return files_[place->second];
  }

  std::string name_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> place_;
};

}  // namespace qlora::inline QLORA_ABI
