/// safetensors: named tensors behind a JSON header. The reader maps the file and refuses anything
/// the format forbids.
///
///     qlora::SafetensorsFile file("adapter_model.safetensors");
///     qlora::RowMatrixXf a = file.dense("...lora_A.weight");
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
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
#include "qlora/io/json_file.hpp"
#include "qlora/io/mapped_file.hpp"

namespace qlora::inline QLORA_ABI {

/// One tensor of a file: its bytes stay in the file's map, which must live as long.
struct SafeTensor {
  std::string dtype;
  std::vector<Index> shape;
  std::span<const std::byte> bytes;
};

namespace io_detail {

/// Bits of an element, 0 for an unknown type.
inline std::uint64_t safetensors_bits(std::string_view dtype) {
  using Type = std::pair<std::string_view, std::uint64_t>;
  constexpr std::array types{
      Type{"BOOL", 8},        Type{"F4", 4},          Type{"F6_E2M3", 6}, Type{"F6_E3M2", 6},
      Type{"U8", 8},          Type{"I8", 8},          Type{"F8_E4M3", 8}, Type{"F8_E5M2", 8},
      Type{"F8_E4M3FNUZ", 8}, Type{"F8_E5M2FNUZ", 8}, Type{"F8_E8M0", 8}, Type{"U16", 16},
      Type{"I16", 16},        Type{"F16", 16},        Type{"BF16", 16},   Type{"U32", 32},
      Type{"I32", 32},        Type{"F32", 32},        Type{"U64", 64},    Type{"I64", 64},
      Type{"F64", 64},        Type{"C64", 64}};
  for (const auto& [name, bits] : types)
    if (name == dtype) return bits;
  return 0;
}

}  // namespace io_detail

/// Whether safetensors has an element type of this name.
inline bool is_safetensors_dtype(std::string_view dtype) {
  return io_detail::safetensors_bits(dtype) > 0;
}

/// A matrix of F32, F16 or BF16 as floats; a vector is one row. Throws FormatError that begins with
/// `where`.
inline RowMatrixXf dense_of(const SafeTensor& tensor, const std::string& where) {
  require<FormatError>(tensor.shape.size() == 1 || tensor.shape.size() == 2, where,
                       ": expected 1 or 2 dimensions, found ", tensor.shape.size());
  RowMatrixXf values(tensor.shape.size() == 2 ? tensor.shape[0] : 1, tensor.shape.back());
  if (tensor.dtype == "F32") {
    if (!tensor.bytes.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }
  require<FormatError>(tensor.dtype == "F16" || tensor.dtype == "BF16", where,
                       ": expected F32, F16 or BF16, found ", tensor.dtype);
  for (Index i = 0; i < values.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, tensor.bytes.data() + 2 * i, 2);
    values.data()[i] =
        tensor.dtype == "F16" ? float{float16::from_bits(bits)} : float{bfloat16::from_bits(bits)};
  }
  return values;
}

/// One file; reading is thread-safe, nothing changes after the constructor.
class SafetensorsFile {
 public:
  /// Throws IoError or FormatError, naming file and tensor.
  explicit SafetensorsFile(const std::filesystem::path& path) : name_(path.string()), file_(path) {
    parse();
  }

  /// All tensors by name.
  const std::map<std::string, SafeTensor>& tensors() const { return tensors_; }
  /// The texts of `__metadata__`.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// Throws FormatError when there is no such tensor.
  const SafeTensor& tensor(const std::string& name) const {
    const auto place = tensors_.find(name);
    require<FormatError>(place != tensors_.end(), name_, ": expected the tensor '", name,
                         "', found none");
    return place->second;
  }

  /// Whether there is a tensor of that name.
  bool has(const std::string& name) const { return tensors_.contains(name); }

  /// A matrix of F32, F16 or BF16 as floats; a vector is one row.
  RowMatrixXf dense(const std::string& name) const {
    return dense_of(tensor(name), name_ + ": tensor '" + name + "'");
  }

  /// The path, for messages.
  const std::string& name() const { return name_; }
  /// The map that the tensors' bytes are in.
  const MappedFile& file() const { return file_; }

 private:
  void parse() {
    const auto bytes = file_.bytes();
    require<FormatError>(bytes.size() >= 8, name_, ": expected a header length of 8 bytes, found ",
                         bytes.size());
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    require<FormatError>(length <= 100'000'000 && length <= bytes.size() - 8, name_,
                         ": a header of ", length, " bytes does not fit in the file of ",
                         bytes.size());
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, length);
    require<FormatError>(!text.empty() && text.front() == '{', name_,
                         ": expected the header to start with '{'");
    const auto data = bytes.subspan(8 + length);
    const nlohmann::json header = parse_json(name_, text);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    for (const auto& [name, entry] : header.items()) {
      try {
        if (name == "__metadata__") {
          metadata_ = entry.get<std::map<std::string, std::string>>();
        } else {
          ranges.push_back(add(name, entry, data));
        }
      } catch (const nlohmann::json::exception& failure) {
        throw FormatError(message(name_, ": tensor '", name, "': ", failure.what()));
      }
    }
    std::sort(ranges.begin(), ranges.end());
    std::uint64_t end = 0;
    for (const auto& [from, to] : ranges) {
      require<FormatError>(from == end, name_,
                           ": the data of tensors leaves a hole or overlaps at byte ",
                           std::min(from, end));
      end = to;
    }
    require<FormatError>(end == data.size(), name_, ": expected ", end, " bytes of data, found ",
                         data.size());
  }

  std::pair<std::uint64_t, std::uint64_t> add(const std::string& name, const nlohmann::json& entry,
                                              std::span<const std::byte> data) {
    SafeTensor tensor{entry.at("dtype").get<std::string>(), {}, {}};
    const std::string where = name_ + ": tensor '" + name + "'";
    tensor.shape = whole_numbers(entry.at("shape"), where + ": shape");
    const auto offsets = whole_numbers(entry.at("data_offsets"), where + ": data_offsets");
    require<FormatError>(offsets.size() == 2, where, ": expected two data_offsets, found ",
                         offsets.size());
    const auto from = static_cast<std::uint64_t>(offsets[0]);
    const auto to = static_cast<std::uint64_t>(offsets[1]);
    std::uint64_t expected = io_detail::safetensors_bits(tensor.dtype);
    require<FormatError>(expected > 0, where, ": the type '", tensor.dtype, "' is not known");
    for (const Index n : tensor.shape)
      require<FormatError>(
          n < (Index{1} << 48) &&
              !__builtin_mul_overflow(expected, static_cast<std::uint64_t>(n), &expected),
          where, ": its shape is out of range");
    require<FormatError>(expected % 8 == 0, where, ": its elements of ", tensor.dtype,
                         " end inside a byte");
    expected /= 8;
    require<FormatError>(from <= to && to <= data.size() && to - from == expected, where,
                         ": expected ", expected, " bytes, found the range ", from, " to ", to,
                         " of ", data.size());
    tensor.bytes = data.subspan(from, expected);
    tensors_.emplace(name, std::move(tensor));
    return {from, to};
  }

  std::string name_;
  MappedFile file_;
  std::map<std::string, SafeTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace qlora::inline QLORA_ABI
