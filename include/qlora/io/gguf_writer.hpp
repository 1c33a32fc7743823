/// Writing GGUF 3 tensor by tensor, whole or not at all.
///
///     qlora::GgufWriter file;
///     file.set("general.architecture", "llama");
///     file.declare("token_embd.weight", {49152, 576}, qlora::GgufTypeId::f16);
///     file.open("model.gguf");
///     file.write(bytes);                                      // each tensor in the order declared
///     file.commit();
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/io/atomic_file.hpp"
#include "qlora/io/gguf_types.hpp"

namespace qlora::inline QLORA_ABI {

/// Collects keys and tensors of one file and writes them. One thread uses an object at a time.
class GgufWriter {
 public:
  /// Sets a key to a number, truth, text, or a list of texts or numbers, in place of what it was.
  template <class T>
  void set(const std::string& key, const T& value) {
    std::string bytes;
    if constexpr (std::is_convertible_v<T, std::string_view>) {
      put(bytes, std::uint32_t{8});
      put_text(bytes, value);
    } else if constexpr (std::is_arithmetic_v<T>) {
      put(bytes, kind_of<T>());
      put(bytes, value);
    } else {
      using E = typename T::value_type;
      put(bytes, std::uint32_t{9});
      put(bytes, std::is_arithmetic_v<E> ? kind_of<E>() : std::uint32_t{8});
      put(bytes, static_cast<std::uint64_t>(value.size()));
      for (const auto& each : value) {
        if constexpr (std::is_arithmetic_v<E>) {
          put(bytes, each);
        } else {
          put_text(bytes, each);
        }
      }
    }
    keys_[key] = std::move(bytes);
  }

  /// Sets a key to kind and value as another file holds them (GgufFile::raw_values).
  void set_raw(const std::string& key, std::span<const std::byte> kind_and_value) {
    keys_[key] = {reinterpret_cast<const char*>(kind_and_value.data()), kind_and_value.size()};
  }

  /// Names a tensor; shape: as in a checkpoint, the fastest dimension last. Throws FormatError for
  /// a type that is not known or rows that it can't hold.
  void declare(const std::string& name, const std::vector<Index>& shape, GgufTypeId type) {
    const auto known = find_gguf_layout(type);
    require<FormatError>(known.has_value() && !shape.empty() && shape.size() <= 4 &&
                             shape.back() % known->block == 0,
                         "GGUF: tensor '", name, "': type ", gguf_type_name(type),
                         " can't hold its rows");
    Index size = 1;
    for (const Index n : shape) size *= n;
    put_text(tensors_, name);
    put(tensors_, static_cast<std::uint32_t>(shape.size()));
    for (std::size_t i = shape.size(); i-- > 0;)
      put(tensors_, static_cast<std::uint64_t>(shape[i]));
    put(tensors_, type);
    put(tensors_, end_);
    sizes_.push_back(static_cast<std::uint64_t>(size / known->block * known->bytes));
    end_ += padded(sizes_.back());
  }

  /// Writes what was set and declared. Throws IoError when the file can't be written.
  void open(const std::filesystem::path& path) {
    path_ = path.string();
    keys_.erase("general.alignment");  // 32, the default
    std::string head = "GGUF";
    put(head, std::uint32_t{3});
    put(head, static_cast<std::uint64_t>(sizes_.size()));
    put(head, static_cast<std::uint64_t>(keys_.size()));
    for (const auto& [key, value] : keys_) {
      put_text(head, key);
      head += value;
    }
    head += tensors_;
    head.resize(padded(head.size()));
    file_.emplace(path);
    file_->write(head.data(), head.size());
  }

  /// The name that the file has from `open` to `commit`. Throws FormatError before `open`.
  const std::string& temporary() const {
    require<FormatError>(file_.has_value(), path_, ": expected an open file; call open first");
    return file_->temporary();
  }

  /// Writes the next declared tensor. Throws FormatError unless it has the size declared.
  void write(std::span<const std::byte> bytes) {
    require<FormatError>(written_ < sizes_.size() && bytes.size() == sizes_[written_], path_,
                         ": tensor ", written_, ": expected ",
                         written_ < sizes_.size() ? sizes_[written_] : 0, " bytes, found ",
                         bytes.size());
    AtomicFile& file = opened();
    file.write(bytes.data(), bytes.size());
    const std::string zeros(padded(bytes.size()) - bytes.size(), '\0');
    file.write(zeros.data(), zeros.size());
    ++written_;
  }

  /// Puts the file in its place. Throws FormatError when a tensor is missing.
  void commit() {
    AtomicFile& file = opened();
    require<FormatError>(written_ == sizes_.size(), path_, ": ", written_, " of ", sizes_.size(),
                         " tensors were written");
    file.commit();
  }

 private:
  AtomicFile& opened() {
    if (!file_) throw FormatError(message(path_, ": expected an open file; call open first"));
    return *file_;
  }

  static constexpr std::uint64_t alignment = 32;
  static std::uint64_t padded(std::uint64_t size) {
    return (size + alignment - 1) / alignment * alignment;
  }

  template <class T>
  static constexpr std::uint32_t kind_of() {
    if constexpr (std::is_same_v<T, bool>) return 7;
    if constexpr (std::is_same_v<T, float>) return 6;
    if constexpr (std::is_same_v<T, double>) return 12;
    constexpr bool negative = std::is_signed_v<T>;
    switch (sizeof(T)) {
      case 1:
        return negative ? 1 : 0;
      case 2:
        return negative ? 3 : 2;
      case 4:
        return negative ? 5 : 4;
      default:
        return negative ? 11 : 10;
    }
  }
  template <class T>
  static void put(std::string& to, T value) {
    to.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  static void put_text(std::string& to, std::string_view text) {
    put(to, static_cast<std::uint64_t>(text.size()));
    to += text;
  }

  std::string path_ = "GGUF", tensors_;
  std::map<std::string, std::string> keys_;
  std::vector<std::uint64_t> sizes_;
  std::uint64_t end_ = 0;
  std::size_t written_ = 0;
  std::optional<AtomicFile> file_;
};

}  // namespace qlora::inline QLORA_ABI
