// Makes GGUF files, well-formed ones and, by changing bytes afterwards, others.
//
//   GgufBuilder file;
//   file.key("general.architecture", "llama").tensor("w", {2, 3}, matrix);
//   write(path, file.bytes());
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/matrix.hpp"

namespace test {

class GgufBuilder {
 public:
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;

  GgufBuilder& key(const std::string& name, std::string_view value) {
    start_key(name, 8);
    add_string(keys_, value);
    return *this;
  }
  GgufBuilder& key(const std::string& name, const char* value) {
    return key(name, std::string_view(value));
  }
  GgufBuilder& key(const std::string& name, std::uint32_t value) { return number(name, 4, value); }
  GgufBuilder& key(const std::string& name, bool value) {
    return number(name, 7, static_cast<std::uint8_t>(value));
  }
  GgufBuilder& key(const std::string& name, float value) { return number(name, 6, value); }
  GgufBuilder& key(const std::string& name, const std::vector<std::string>& values) {
    start_list(name, 8, values.size());
    for (const auto& value : values) add_string(keys_, value);
    return *this;
  }
  GgufBuilder& key(const std::string& name, const std::vector<std::int32_t>& values) {
    start_list(name, 5, values.size());
    for (const auto value : values) add(keys_, value);
    return *this;
  }
  // A number of any of the format's kinds.
  template <class T>
  GgufBuilder& number(const std::string& name, std::uint32_t kind, T value) {
    start_key(name, kind);
    add(keys_, value);
    return *this;
  }

  // shape: as in a checkpoint, the fastest dimension last.
  GgufBuilder& tensor(const std::string& name, const std::vector<std::uint64_t>& shape,
                      std::uint32_t type, std::string_view bytes) {
    add_string(infos_, name);
    add(infos_, static_cast<std::uint32_t>(shape.size()));
    for (std::size_t i = shape.size(); i-- > 0;) add(infos_, shape[i]);
    add(infos_, type);
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    add(infos_, static_cast<std::uint64_t>(data_.size()));
    data_ += bytes;
    ++tensor_count_;
    return *this;
  }
  GgufBuilder& tensor(const std::string& name, const qlora::RowMatrixXf& values) {
    std::vector<std::uint64_t> shape{static_cast<std::uint64_t>(values.cols())};
    if (values.rows() > 1) shape.insert(shape.begin(), static_cast<std::uint64_t>(values.rows()));
    return tensor(name, shape, 0,
                  {reinterpret_cast<const char*>(values.data()),
                   static_cast<std::size_t>(values.size()) * 4});
  }

  std::string bytes() const {
    std::string all = "GGUF";
    add(all, version);
    add(all, tensor_count_);
    add(all, key_count_);
    all += keys_ + infos_;
    all.resize((all.size() + alignment - 1) / alignment * alignment);
    return all + data_;
  }

 private:
  template <class T>
  static void add(std::string& to, T value) {
    to.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  static void add_string(std::string& to, std::string_view value) {
    add(to, static_cast<std::uint64_t>(value.size()));
    to += value;
  }
  void start_key(const std::string& name, std::uint32_t kind) {
    add_string(keys_, name);
    add(keys_, kind);
    ++key_count_;
  }
  void start_list(const std::string& name, std::uint32_t kind, std::size_t count) {
    start_key(name, 9);
    add(keys_, kind);
    add(keys_, static_cast<std::uint64_t>(count));
  }

  std::string keys_, infos_, data_;
  std::uint64_t tensor_count_ = 0, key_count_ = 0;
};

}  // namespace test
