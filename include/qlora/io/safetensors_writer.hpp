/// Writing safetensors tensor by tensor, whole or not at all: no more than one tensor is in memory.
///
///     qlora::SafetensorsWriter file(path, {"a", "b"}, {{"format", "pt"}});
///     file.add<float>("a", {2, 3}, values);   // any order
///     file.add<float>("b", {4}, others);
///     file.commit();
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/io/atomic_file.hpp"
#include "qlora/io/safetensors.hpp"

namespace qlora::inline QLORA_ABI {

/// What safetensors calls an element type.
template <class T>
inline constexpr std::string_view safetensors_dtype{};
template <>
inline constexpr std::string_view safetensors_dtype<float> = "F32";
template <>
inline constexpr std::string_view safetensors_dtype<float16> = "F16";
template <>
inline constexpr std::string_view safetensors_dtype<bfloat16> = "BF16";
template <>
inline constexpr std::string_view safetensors_dtype<e4m3> = "F8_E4M3";
template <>
inline constexpr std::string_view safetensors_dtype<std::uint8_t> = "U8";
template <>
inline constexpr std::string_view safetensors_dtype<std::uint32_t> = "U32";

/// Writes one file. One thread uses an object at a time.
class SafetensorsWriter {
 public:
  using Metadata = std::map<std::string, std::string>;

  /// names: all that will be added; room for their part of the header is kept at the start of the
  /// file. Throws IoError when the file can't be written.
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<std::string>& names,
                    const Metadata& metadata = {})
      : path_(path.string()), file_(path), missing_(names.begin(), names.end()) {
    header_ = nlohmann::json::object();
    if (!metadata.empty()) header_["__metadata__"] = metadata;
    nlohmann::json largest = header_;
    constexpr auto number = std::uint64_t{1} << 62;
    for (const auto& name : names)
      largest[name] = {{"dtype", "F8_E4M3FNUZ"},
                       {"shape", {number, number, number, number}},
                       {"data_offsets", {number, number}}};
    room_ = (largest.dump().size() + 7) / 8 * 8;
    const std::string space(8 + room_, ' ');
    file_.write(space.data(), space.size());
  }

  /// Writes the bytes of one tensor. Throws FormatError for a name that was not announced or a size
  /// that does not fit the shape, IoError when the disk is full.
  void add(const std::string& name, std::string_view dtype, const std::vector<Index>& shape,
           std::span<const std::byte> bytes) {
    const auto place = std::find(missing_.begin(), missing_.end(), name);
    require<FormatError>(place != missing_.end(), path_, ": tensor '", name,
                         "' was not announced, or comes twice");
    require<FormatError>(shape.size() <= 4, path_, ": tensor '", name,
                         "': expected at most 4 dimensions, found ", shape.size());
    std::size_t size = io_detail::safetensors_bits(dtype);
    for (const Index n : shape) size *= static_cast<std::size_t>(n);
    size /= 8;
    require<FormatError>(size == bytes.size(), path_, ": tensor '", name, "': expected ", size,
                         " bytes, found ", bytes.size());
    missing_.erase(place);
    header_[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {end_, end_ + size}}};
    file_.write(bytes.data(), bytes.size());
    end_ += size;
  }

  /// The same for numbers, whose type says the dtype.
  template <class T>
  void add(const std::string& name, const std::vector<Index>& shape, std::span<const T> values) {
    static_assert(!safetensors_dtype<T>.empty(), "safetensors: this type has no name there");
    add(name, safetensors_dtype<T>, shape, std::as_bytes(values));
  }
  /// The same for a matrix, as F32 [rows, cols].
  void add(const std::string& name, const RowMatrixXf& values) {
    add<float>(name, {values.rows(), values.cols()},
               {values.data(), static_cast<std::size_t>(values.size())});
  }

  /// The name that the file has until `commit`.
  const std::string& temporary() const { return file_.temporary(); }

  /// Puts the file in its place. Throws FormatError when a tensor that was announced is missing.
  void commit() {
    require<FormatError>(missing_.empty(), path_, ": tensor '",
                         missing_.empty() ? std::string() : missing_.front(),
                         "' was announced and never added");
    std::string text = header_.dump();
    text.resize(room_, ' ');
    const std::uint64_t length = room_;
    file_.write_at(0, &length, sizeof(length));
    file_.write_at(sizeof(length), text.data(), text.size());
    file_.commit();
  }

 private:
  std::string path_;
  AtomicFile file_;
  std::vector<std::string> missing_;
  nlohmann::json header_;
  std::size_t room_ = 0;
  std::uint64_t end_ = 0;
};

/// Writes float32 matrices.
inline void write_safetensors(const std::filesystem::path& path,
                              const std::map<std::string, const RowMatrixXf*>& tensors,
                              const SafetensorsWriter::Metadata& metadata = {}) {
  std::vector<std::string> names;
  names.reserve(tensors.size());
  for (const auto& [name, values] : tensors) names.push_back(name);
  SafetensorsWriter file(path, names, metadata);
  for (const auto& [name, values] : tensors) file.add(name, *values);
  file.commit();
}

}  // namespace qlora::inline QLORA_ABI
