/// The parts of a packed matrix as tensors of a safetensors file: codes, scales to any depth,
/// tables and outliers. Storages name their own parts (`describe`), so one description serves
/// writing, reading, and saying what will be written; a user's own Scale joins in by having it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/io/checkpoint.hpp"
#include "qlora/io/safetensors_writer.hpp"
#include "qlora/quant/quantized_matrix.hpp"

namespace qlora::inline QLORA_ABI::io_detail {

/// Names of parts: the weight's name and a dot, then "nested_" for each level of nesting. The base
/// of what goes through the parts.
template <class Archive>
class PartNaming {
 public:
  explicit PartNaming(std::string weight) : prefix_(std::move(weight) + ".") {}
  std::string tensor(const char* name) const { return prefix_ + key(name); }
  std::string key(const char* name) const { return nesting_ + name; }

  /// Calls `body` with the archive one level further in.
  template <class Body>
  void nested(Body&& body) {
    const auto outer = std::exchange(nesting_, nesting_ + "nested_");
    body(static_cast<Archive&>(*this));
    nesting_ = outer;
  }

 protected:
  std::string prefix_, nesting_;
};

/// Collects the names that a matrix's parts will have.
class PartNames : public PartNaming<PartNames> {
 public:
  using PartNaming<PartNames>::PartNaming;
  std::vector<std::string> names = {};

  template <class T>
  void array(const char* name, const std::vector<T>&, Index) {
    names.push_back(tensor(name));
  }
  template <class T, class Pair>
  void pairs(const char* name, const std::vector<Pair>&, Index) {
    names.push_back(tensor(name));
  }
  template <std::size_t N>
  void table(const char* name, const float (&)[N]) {
    names.push_back(tensor(name));
  }
  void number(const char*, float) {}
};

/// Writes the parts; single numbers go into a JSON object.
class PartWriter : public PartNaming<PartWriter> {
 public:
  PartWriter(SafetensorsWriter& file, std::string weight, nlohmann::json& numbers)
      : PartNaming(std::move(weight)), file_(file), numbers_(numbers) {}

  template <class T>
  void array(const char* name, const std::vector<T>& values, Index) {
    file_.add<T>(tensor(name), {static_cast<Index>(values.size())}, values);
  }
  template <class T, class Pair>
  void pairs(const char* name, const std::vector<Pair>& values, Index) {
    static_assert(sizeof(Pair) == 2 * sizeof(T));
    file_.add(tensor(name), safetensors_dtype<T>, {static_cast<Index>(values.size()), 2},
              std::as_bytes(std::span(values)));
  }
  template <std::size_t N>
  void table(const char* name, const float (&values)[N]) {
    file_.add<float>(tensor(name), {static_cast<Index>(N)}, std::span<const float>(values));
  }
  void number(const char* name, float value) { numbers_[key(name)] = value; }

 private:
  SafetensorsWriter& file_;
  nlohmann::json& numbers_;
};

/// Reads the parts back; throws FormatError for another type, length, table or a number that is not
/// finite.
class PartReader : public PartNaming<PartReader> {
 public:
  PartReader(const Checkpoint& file, std::string weight, const nlohmann::json& numbers)
      : PartNaming(std::move(weight)), file_(file), numbers_(numbers) {}

  template <class T>
  void array(const char* name, std::vector<T>& values, Index count) const {
    copy(tensor(name), safetensors_dtype<T>, values, count);
  }
  template <class T, class Pair>
  void pairs(const char* name, std::vector<Pair>& values, Index count) const {
    copy(tensor(name), safetensors_dtype<T>, values, count);
  }
  template <std::size_t N>
  void table(const char* name, const float (&expected)[N]) const {
    std::vector<float> found;
    array(name, found, static_cast<Index>(N));
    require<FormatError>(
        std::ranges::equal(std::as_bytes(std::span(found)), std::as_bytes(std::span(expected))),
        file_.where(tensor(name)), ": its values are not this format's");
  }
  void number(const char* name, float& value) const {
    const auto place = numbers_.find(key(name));
    require<FormatError>(place != numbers_.end() && place->is_number(), file_.name(), ": ", prefix_,
                         "quant_state: expected a number '", key(name), "', found ",
                         place == numbers_.end() ? std::string("none") : place->dump());
    value = place->template get<float>();
    require<FormatError>(is_finite(value), file_.name(), ": ", prefix_, "quant_state: '", key(name),
                         "': expected a finite number, found ", value);
  }

 private:
  /// Sizes are compared with the file's before anything is allocated.
  template <class T>
  void copy(const std::string& name, std::string_view dtype, std::vector<T>& to,
            Index count) const {
    const SafeTensor& tensor = file_.tensor(name);
    const std::size_t size = tensor.bytes.size();
    require<FormatError>(tensor.dtype == dtype && size % sizeof(T) == 0 &&
                             static_cast<Index>(size / sizeof(T)) == count,
                         file_.where(name), ": expected ", count, " times ", sizeof(T),
                         " bytes of ", dtype, ", found ", size, " bytes of ", tensor.dtype);
    to.resize(size / sizeof(T));
    if (size > 0) std::memcpy(to.data(), tensor.bytes.data(), size);
  }

  const Checkpoint& file_;
  const nlohmann::json& numbers_;
};

/// Passes what a matrix stores beside its codes through the archive: the codebook's table, then the
/// scales.
template <class F, class Archive, class Codebook, class Scale>
void describe_parts(Archive& archive, Codebook& codebook, Scale& scale, Index rows, Index blocks) {
  if constexpr (RuntimeCodebook<typename F::CodebookType>) {
    codebook.describe(archive, rows);
  } else {
    archive.table("quant_map", decode_table<typename F::CodebookType>.at);
  }
  scale.describe(archive, blocks);
}

}  // namespace qlora::inline QLORA_ABI::io_detail
