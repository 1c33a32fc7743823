/// The checksum of a model's weights, which says whether an adapter was trained on these very
/// files. Needs OpenSSL (link libcrypto).
///
///     const auto source = qlora::open_model("SmolLM2-135M-Instruct.Q4_1.gguf");
///     std::string digits = qlora::model_checksum(*source);   // as sha256sum prints it
#pragma once

#include <span>
#include <string>

#include "qlora/core/config.hpp"
#include "qlora/io/sha256.hpp"
#include "qlora/model/model_source.hpp"

namespace qlora::inline QLORA_ABI {

/// The SHA-256 of the file with the weights, in hexadecimal digits. For several files it is the
/// SHA-256 of the digits of all of them, one after the other in the source's order. Safe to call
/// from several threads.
inline std::string model_checksum(const ModelSource& source) {
  const auto files = source.files();
  if (files.size() == 1) return sha256(files.front());
  std::string all;
  for (const auto& file : files) all += sha256(file);
  return sha256(std::as_bytes(std::span(all)));
}

}  // namespace qlora::inline QLORA_ABI
