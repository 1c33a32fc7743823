/// The tensors of a checkpoint by name, from one safetensors file or from a folder in Hugging Face
/// layout with one file or several behind an index.
///
///     qlora::Checkpoint checkpoint("SmolLM2-135M");            // or ".../model.safetensors"
///     qlora::RowMatrixXf w = checkpoint.dense("model.embed_tokens.weight");
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "qlora/core/error.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/io/safetensors.hpp"

namespace qlora {

class Checkpoint {
 public:
  /// Throws IoError for a missing file, FormatError for an index that does not fit the files.
  explicit Checkpoint(const std::filesystem::path& path) : name_(path.string()) {
    if (!std::filesystem::is_directory(path)) {
      add_file(path);
    } else if (const auto index = path / "model.safetensors.index.json";
               std::filesystem::exists(index)) {
      read_index(path, index);
    } else {
      require<IoError>(
          std::filesystem::exists(path / "model.safetensors"), name_,
          ": expected model.safetensors or model.safetensors.index.json in the folder");
      add_file(path / "model.safetensors");
    }
  }

  const std::string& name() const { return name_; }
  const std::vector<SafetensorsFile>& files() const { return files_; }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    all.reserve(place_.size());
    for (const auto& [name, file] : place_) all.push_back(name);
    return all;
  }

  /// The first name in order that begins so.
  std::optional<std::string> first_with_prefix(const std::string& prefix) const {
    const auto place = place_.lower_bound(prefix);
    if (place == place_.end() || !place->first.starts_with(prefix)) return std::nullopt;
    return place->first;
  }
  bool has(const std::string& name) const { return place_.contains(name); }
  /// Throws FormatError when there is no such tensor.
  const SafeTensor& tensor(const std::string& name) const { return file_of(name).tensor(name); }
  RowMatrixXf dense(const std::string& name) const { return file_of(name).dense(name); }
  /// The file that holds a tensor and the tensor's name, for messages.
  std::string where(const std::string& name) const {
    return file_of(name).name() + ": tensor '" + name + "'";
  }

  void release_pages() const {
    for (const auto& file : files_) file.file().release_pages();
  }

 private:
  void add_file(const std::filesystem::path& path) {
    files_.emplace_back(path);
    for (const auto& [name, tensor] : files_.back().tensors())
      require<FormatError>(place_.emplace(name, files_.size() - 1).second, path.string(),
                           ": the tensor '", name, "' stands in another file too");
  }

  void read_index(const std::filesystem::path& folder, const std::filesystem::path& index) {
    std::map<std::string, std::string> map;
    try {
      map = read_json_file(index).at("weight_map").get<std::map<std::string, std::string>>();
    } catch (const nlohmann::json::exception& failure) {
      throw FormatError(message(index.string(), ": ", failure.what()));
    }
    std::set<std::string> names;
    for (const auto& [tensor, file] : map) {
      require<FormatError>(file.find('/') == std::string::npos, index.string(), ": tensor '",
                           tensor, "': expected the name of a file in the folder, found '", file,
                           "'");
      names.insert(file);
    }
    for (const auto& file : names) add_file(folder / file);
    for (const auto& [tensor, file] : map)
      require<FormatError>(has(tensor) && file_of(tensor).name() == (folder / file).string(),
                           index.string(), ": the tensor '", tensor, "' is not in ", file);
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

}  // namespace qlora
