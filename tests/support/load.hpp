// Loading of models in every format, compiled once for all tests (load.cpp).
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "qlora/model/llama.hpp"
#include "qlora/model/model_source.hpp"

namespace test {

std::unique_ptr<qlora::ModelSource> open_model(const std::filesystem::path& path);
qlora::Llama<> load_model(const qlora::ModelSource& source, const std::string& format = "nf4-dq");

}  // namespace test
