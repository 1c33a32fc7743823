#include "support/load.hpp"

#include "qlora/model/load_llama.hpp"

namespace test {

std::unique_ptr<qlora::ModelSource> open_model(const std::filesystem::path& path) {
  return qlora::open_model(path);
}

qlora::Llama<> load_model(const qlora::ModelSource& source, const std::string& format) {
  return qlora::load_llama(source, {.format = format});
}

}  // namespace test
