// Loading of models in every format.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "qlora/model/load_llama.hpp"

namespace test {

inline std::unique_ptr<qlora::ModelSource> open_model(const std::filesystem::path& path) {
  return qlora::open_model(path);
}
inline qlora::Llama<> load_model(const qlora::ModelSource& source,
                                 const std::string& format = "nf4-dq") {
  return qlora::load_llama(source, {.format = format});
}

}  // namespace test
