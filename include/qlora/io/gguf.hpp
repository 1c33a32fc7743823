/// GGUF 2 and 3, memory-mapped: typed key-values and tensors by name. Malformed files are refused
/// with the place. A model that is split into several files is read from its first one.
///
///     qlora::GgufFile file("model.gguf");
///     file.get<std::uint64_t>("llama.block_count");
///     qlora::RowMatrixXf w = file.dense("token_embd.weight");   // any supported type, decoded
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/io/gguf_types.hpp"
#include "qlora/io/mapped_file.hpp"

namespace qlora::inline QLORA_ABI {

/// A key's value: a whole number, a float, a bool, a text, or a list of values of one of these
/// kinds.
using GgufValue =
    std::variant<std::int64_t, std::uint64_t, double, bool, std::string, std::vector<std::int64_t>,
                 std::vector<double>, std::vector<std::string>>;

/// A tensor's place in the file. shape: as in a checkpoint, the fastest dimension last.
struct GgufTensor {
  std::vector<Index> shape;
  GgufTypeId type = GgufTypeId::f32;
  std::span<const std::byte> bytes;

  /// Rows of the matrix [rows, cols] that the tensor is read as, its columns, and their product.
  Index rows() const { return shape.size() < 2 ? 1 : size() / shape.back(); }
  Index cols() const { return shape.empty() ? 1 : shape.back(); }
  Index size() const {
    Index count = 1;
    for (const Index n : shape) count *= n;
    return count;
  }
};

namespace io_detail {

/// Reads little-endian values from a span and refuses to run past its end.
class GgufCursor {
 public:
  GgufCursor(std::string file, std::span<const std::byte> bytes)
      : file_(std::move(file)), bytes_(bytes) {}

  std::size_t position() const { return position_; }
  std::size_t left() const { return bytes_.size() - position_; }

  template <class T>
  T read() {
    need(sizeof(T), "a number");
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  std::string read_string() {
    const auto length = read<std::uint64_t>();
    need(length, "a string");
    std::string text(reinterpret_cast<const char*>(bytes_.data()) + position_, length);
    position_ += length;
    return text;
  }

  /// A count of things that take at least `smallest` bytes each.
  std::uint64_t read_count(std::uint64_t smallest, const char* what) {
    const auto count = read<std::uint64_t>();
    require<FormatError>(count <= left() / smallest, file_, ": at byte ", position_, ": ", count,
                         " ", what, " can't fit in the ", left(), " bytes that are left");
    return count;
  }

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    throw FormatError(message(file_, ": at byte ", position_, ": ", parts...));
  }

 private:
  void need(std::uint64_t size, const char* what) const {
    require<FormatError>(size <= left(), file_, ": at byte ", position_, ": expected ", what,
                         " of ", size, " bytes, found the end of the file after ", left());
  }

  std::string file_;
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
};

}  // namespace io_detail

/// A GGUF file, or all files of a split one. Reading is thread-safe: nothing changes after the
/// constructor.
class GgufFile {
 public:
  /// path: the file, or the first of a split model (`NAME-00001-of-00003.gguf`), whose other files
  /// lie beside it. Throws IoError for a file that can't be read and FormatError, naming file and
  /// place, for a malformed one.
  explicit GgufFile(const std::filesystem::path& path) : name_(path.string()) {
    parse(path);
    read_other_parts(path);
  }

  /// The path of the first file, for messages.
  const std::string& name() const { return name_; }
  /// The file, or the files of a split model in order.
  const std::vector<MappedFile>& files() const { return files_; }
  /// Gives mapped pages back to the system.
  void release_pages() const {
    for (const MappedFile& file : files_) file.release_pages();
  }
  /// All tensors by name, of all files.
  const std::map<std::string, GgufTensor>& tensors() const { return tensors_; }
  /// Each key's kind and value as the bytes in the file, for copies that lose nothing. The keys
  /// that tell how a model was split are not among them.
  const std::map<std::string, std::span<const std::byte>>& raw_values() const {
    return raw_values_;
  }

  /// The key's value as T (numbers convert), or nothing. Throws FormatError when the kind does not
  /// fit.
  template <class T>
  std::optional<T> find(const std::string& key) const {
    const auto place = values_.find(key);
    if (place == values_.end()) return std::nullopt;
    return std::visit(
        [&](const auto& value) -> T {
          using V = std::remove_cvref_t<decltype(value)>;
          if constexpr (std::is_same_v<V, T>) {
            return value;
          } else if constexpr (std::is_same_v<V, double> && std::is_integral_v<T>) {
            constexpr double end = 2147483648.0;
            if (value >= -end && value < end && std::floor(value) == value)
              return static_cast<T>(value);
            throw FormatError(
                message(name_, ": key '", key, "': expected a whole number, found ", value));
          } else if constexpr (std::is_arithmetic_v<V> && std::is_arithmetic_v<T>) {
            return static_cast<T>(value);
          } else {
            throw FormatError(message(name_, ": key '", key, "' holds another kind of value"));
          }
        },
        place->second);
  }

  /// The same, but the key must be there.
  template <class T>
  T get(const std::string& key) const {
    auto value = find<T>(key);
    if (!value) throw FormatError(message(name_, ": expected the key '", key, "', found none"));
    return *std::move(value);
  }

  /// All keys and what kind of value each has.
  const std::map<std::string, GgufValue>& values() const { return values_; }

  /// Whether there is a tensor of that name.
  bool has(const std::string& tensor) const { return tensors_.contains(tensor); }

  /// Throws FormatError when there is no such tensor.
  const GgufTensor& tensor(const std::string& name) const {
    const auto place = tensors_.find(name);
    require<FormatError>(place != tensors_.end(), name_, ": expected the tensor '", name,
                         "', found none");
    return place->second;
  }

  /// A tensor decoded to [rows, cols] floats. Throws FormatError for a type that is not supported.
  RowMatrixXf dense(const std::string& name) const {
    const GgufTensor& t = tensor(name);
    require<FormatError>(find_gguf_type(t.type) != nullptr, name_, ": tensor '", name, "': type ",
                         gguf_type_name(t.type), " is not supported; expected one of ",
                         gguf_type_names());
    RowMatrixXf values(t.rows(), t.cols());
    gguf_decode(t.type, t.bytes,
                std::span<float>(values.data(), static_cast<std::size_t>(values.size())));
    return values;
  }

 private:
  using Keys = std::map<std::string, GgufValue>;

  void parse(const std::filesystem::path& path) {
    const std::string file = path.string();
    const auto bytes = files_.emplace_back(path).bytes();
    io_detail::GgufCursor cursor(file, bytes);
    require<FormatError>(bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0, file,
                         ": expected the magic 'GGUF' at the start of the file");
    (void)cursor.read<std::uint32_t>();
    const auto version = cursor.read<std::uint32_t>();
    require<FormatError>(version == 2 || version == 3, file,
                         ": expected GGUF version 2 or 3, found ", version);
    const auto tensor_count = cursor.read_count(24, "tensors");
    const auto key_count = cursor.read_count(13, "keys");
    const bool first = files_.size() == 1;
    values_.clear();  // those of this file; the first one's come back below
    for (std::uint64_t i = 0; i < key_count; ++i) {
      std::string key = cursor.read_string();
      const std::size_t start = cursor.position();
      GgufValue value = read_value(cursor, cursor.read<std::uint32_t>());
      if (!values_.emplace(key, std::move(value)).second)
        cursor.fail("the key '", key, "' comes twice");
      if (first && !key.starts_with("split."))
        raw_values_.emplace(key, bytes.subspan(start, cursor.position() - start));
    }
    const auto alignment = find<std::uint64_t>("general.alignment").value_or(32);
    require<FormatError>(
        alignment > 0 && alignment <= (1u << 30) && (alignment & (alignment - 1)) == 0, file,
        ": general.alignment: expected a power of two, found ", alignment);
    std::vector<std::pair<std::string, std::uint64_t>> offsets;
    for (std::uint64_t i = 0; i < tensor_count; ++i) offsets.push_back(read_tensor(cursor));
    const std::uint64_t start = (cursor.position() + alignment - 1) / alignment * alignment;
    for (const auto& [name, offset] : offsets) place_tensor(file, name, offset, start, alignment);
  }

  /// The other files of a split model, as llama.cpp names them: NAME-00002-of-00003.gguf.
  void read_other_parts(const std::filesystem::path& path) {
    const auto count = find<std::uint64_t>("split.count").value_or(1);
    const auto number = find<std::uint64_t>("split.no").value_or(0);
    if (count <= 1) return;
    const auto suffix = [&](std::uint64_t part) {
      char text[64];
      std::snprintf(text, sizeof(text), "-%05llu-of-%05llu.gguf",
                    static_cast<unsigned long long>(part + 1),
                    static_cast<unsigned long long>(count));
      return std::string(text);
    };
    const std::string file = path.filename().string(), own = suffix(number);
    const bool named = count <= 99999 && number < count && file.ends_with(own);
    require<FormatError>(named, name_, ": file ", number + 1, " of ", count,
                         " of a split model: expected a name that ends in ", own);
    const std::string stem = file.substr(0, file.size() - own.size());
    require<FormatError>(number == 0, name_, ": file ", number + 1, " of ", count,
                         " of a split model: name the first, ", stem, suffix(0));
    Keys keys = values_;
    for (std::uint64_t part = 1; part < count; ++part) {
      const auto next = path.parent_path() / (stem + suffix(part));
      require<IoError>(std::filesystem::exists(next), name_, ": file 1 of ", count,
                       " of a split model: expected file ", part + 1, " beside it, ",
                       next.filename().string(), ", found none");
      parse(next);
      const auto found = find<std::uint64_t>("split.no").value_or(0);
      const auto of = find<std::uint64_t>("split.count").value_or(1);
      require<FormatError>(found == part && of == count, next.string(), ": expected file ",
                           part + 1, " of ", count, ", found file ", found + 1, " of ", of);
    }
    values_ = std::move(keys);
    const auto tensors = find<std::uint64_t>("split.tensors.count").value_or(tensors_.size());
    require<FormatError>(tensors == tensors_.size(), name_, ": split.tensors.count: expected ",
                         tensors, " tensors in ", count, " files, found ", tensors_.size());
  }

  std::pair<std::string, std::uint64_t> read_tensor(io_detail::GgufCursor& cursor) {
    std::string name = cursor.read_string();
    const auto dimensions = cursor.read<std::uint32_t>();
    if (dimensions > 4)
      cursor.fail("tensor '", name, "': expected at most 4 dimensions, found ", dimensions);
    GgufTensor tensor;
    std::uint64_t count = 1;
    for (std::uint32_t d = 0; d < dimensions; ++d) {
      const auto n = cursor.read<std::uint64_t>();
      if (n == 0 || n > (std::uint64_t{1} << 40) / count)
        cursor.fail("tensor '", name, "': a dimension of ", n, " is out of range");
      count *= n;
      tensor.shape.insert(tensor.shape.begin(), static_cast<Index>(n));
    }
    tensor.type = static_cast<GgufTypeId>(cursor.read<std::uint32_t>());
    const auto offset = cursor.read<std::uint64_t>();
    if (!tensors_.emplace(name, std::move(tensor)).second)
      cursor.fail("the tensor '", name, "' comes twice");
    return {std::move(name), offset};
  }

  /// A type that can't be decoded is refused when it is read, one whose size is not known here.
  void place_tensor(const std::string& file, const std::string& name, std::uint64_t offset,
                    std::uint64_t start, std::uint64_t alignment) {
    GgufTensor& tensor = tensors_.at(name);
    const auto type = find_gguf_layout(tensor.type);
    require<FormatError>(type.has_value(), file, ": tensor '", name, "': type ",
                         gguf_type_name(tensor.type), " is not supported; expected one of ",
                         gguf_type_names());
    require<FormatError>(tensor.cols() % type->block == 0, file, ": tensor '", name,
                         "': expected rows of a multiple of ", type->block, " for ", type->name,
                         ", found ", tensor.cols());
    const auto size = static_cast<std::uint64_t>(tensor.size() / type->block * type->bytes);
    const auto all = files_.back().bytes();
    require<FormatError>(offset % alignment == 0, file, ": tensor '", name, "': its offset ",
                         offset, " is no multiple of the alignment ", alignment);
    require<FormatError>(
        start <= all.size() && offset <= all.size() - start && size <= all.size() - start - offset,
        file, ": tensor '", name, "': expected ", size, " bytes at ", start + offset,
        ", found a file of ", all.size(), " bytes; is it truncated?");
    tensor.bytes = all.subspan(start + offset, size);
  }

  static GgufValue read_value(io_detail::GgufCursor& cursor, std::uint32_t kind) {
    switch (kind) {
      case 0:
        return std::uint64_t{cursor.read<std::uint8_t>()};
      case 1:
        return std::int64_t{cursor.read<std::int8_t>()};
      case 2:
        return std::uint64_t{cursor.read<std::uint16_t>()};
      case 3:
        return std::int64_t{cursor.read<std::int16_t>()};
      case 4:
        return std::uint64_t{cursor.read<std::uint32_t>()};
      case 5:
        return std::int64_t{cursor.read<std::int32_t>()};
      case 6:
        return static_cast<double>(cursor.read<float>());
      case 7:
        return cursor.read<std::uint8_t>() != 0;
      case 8:
        return cursor.read_string();
      case 9:
        return read_list(cursor);
      case 10:
        return cursor.read<std::uint64_t>();
      case 11:
        return cursor.read<std::int64_t>();
      case 12:
        return cursor.read<double>();
      default:
        cursor.fail("expected a value type below 13, found ", kind);
    }
  }

  static GgufValue read_list(io_detail::GgufCursor& cursor) {
    const auto kind = cursor.read<std::uint32_t>();
    if (kind == 9) cursor.fail("a list of lists is not supported");
    const auto count = cursor.read_count(1, "values");
    std::vector<std::int64_t> whole;
    std::vector<double> real;
    std::vector<std::string> text;
    for (std::uint64_t i = 0; i < count; ++i) {
      std::visit(
          [&]<class V>(V value) {
            if constexpr (std::is_same_v<V, std::string>) {
              text.push_back(std::move(value));
            } else if constexpr (std::is_same_v<V, double>) {
              real.push_back(value);
            } else if constexpr (std::is_integral_v<V>) {
              whole.push_back(static_cast<std::int64_t>(value));
            }
          },
          read_value(cursor, kind));
    }
    if (kind == 8) return text;
    if (kind == 6 || kind == 12) return real;
    return whole;
  }

  std::string name_;
  std::vector<MappedFile> files_;
  Keys values_;
  std::map<std::string, std::span<const std::byte>> raw_values_;
  std::map<std::string, GgufTensor> tensors_;
};

}  // namespace qlora::inline QLORA_ABI
